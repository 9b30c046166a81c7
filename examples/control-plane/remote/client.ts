import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ResourceView } from "../resource-view.ts";
import type { GroupAnswer, StateAnswer } from "../routes/state.ts";

/** The server that is tested: it runs already, somewhere. */
export const URL_OF_SERVER = process.env["URL"] ?? "http://127.0.0.1:3000";

/** How long anything may take to come about, in milliseconds: workers are processes, on a machine that may be busy. */
const PATIENCE_MS = 120_000;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSON it is, which the tests look into.
  readonly json: any;
}

export interface Asked {
  readonly key?: string;
  /** Which of the two headers has the key. Defaults to `Idempotency-Key`. */
  readonly header?: "Idempotency-Key" | "X-Idempotency-Key";
  readonly body?: unknown;
  /** As it is, instead of `body` as JSON. */
  readonly raw?: string;
}

export async function ask(method: string, path: string, { key, header, body, raw }: Asked = {}): Promise<Answer> {
  const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(new URL(path, URL_OF_SERVER), {
    method,
    headers: {
      ...(sent === undefined ? {} : { "content-type": "application/json" }),
      ...(key === undefined ? {} : { [header ?? "Idempotency-Key"]: key }),
    },
    ...(sent === undefined ? {} : { body: sent }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

/** A name that nobody else has. */
export const unique = (what: string): string => `remote-${what}-${randomUUID().slice(0, 8)}`;

/** Asks again after 409 and 503, as a client should, with the same key. */
export async function askUntilAnswered(method: string, path: string, asked: Asked): Promise<Answer> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    const answer = await ask(method, path, asked);
    if ((answer.status !== 409 && answer.status !== 503) || performance.now() > deadline) return answer;
    await sleep(Number(answer.headers.get("retry-after") ?? "1") * 1_000);
  }
}

/** Waits until `/state` is as it should be, and gives it. */
export async function untilState<T>(what: string, find: (state: StateAnswer) => T | undefined | false): Promise<T> {
  let last: unknown;
  for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline; await sleep(100)) {
    const { status, json } = await ask("GET", "/state");
    last = json;
    const found = status === 200 && find(json);
    if (found !== undefined && found !== false) return found;
  }
  assert.fail(`It never came about that ${what}: ${JSON.stringify(last)}`);
}

/** The first group that the server has. */
export async function firstGroup(): Promise<GroupAnswer> {
  const { json } = await ask("GET", "/state");
  return json.groups[0];
}

/** Those of a group that are there, of these ids. */
export function provisioned(group: GroupAnswer | undefined, ids: readonly string[]): ResourceView[] {
  return group?.resources.filter(({ id, state }) => state === "PROVISIONED" && ids.includes(id)) ?? [];
}

/** Adds resources to a group, and gives what removes them. */
export async function add(ids: readonly string[]): Promise<() => Promise<void>> {
  for (const id of ids)
    assert.equal((await askUntilAnswered("POST", "/resources", { key: unique("key"), body: { id } })).status, 201);
  return async () => {
    for (const id of ids) {
      const { status } = await askUntilAnswered("DELETE", `/resources/${id}`, { key: unique("key") });
      assert.ok(status === 204 || status === 404, `${id} was removed with ${status}`);
    }
    await untilState("they are gone", ({ groups: [group] }) => {
      return group?.resources.every(({ id }) => !ids.includes(id));
    });
  };
}

/** What a problem document has to be. */
export function assertProblem({ status, headers, json }: Answer, expected: number): void {
  assert.equal(status, expected, JSON.stringify(json));
  assert.match(headers.get("content-type") ?? "", /^application\/problem\+json/);
  assert.equal(json.status, expected);
  assert.equal(typeof json.title, "string");
}
