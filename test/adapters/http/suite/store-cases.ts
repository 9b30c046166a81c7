import { expect, it } from "vitest";
import { taggedJson } from "../../../../src/codec.ts";
import { responseCodec, responseOf } from "../../../../src/idempotency/http-response.ts";
import { outcomeCodec } from "../../../../src/idempotency/outcome.ts";
import { inTime } from "../../../support/in-time.ts";
import { eventually } from "../eventually.ts";
import { endToEnd } from "../http-client.ts";
import { expectProblem } from "./expect-problem.ts";
import { gate } from "./gate.ts";
import type { Suite } from "./http-suite.ts";

/** What a service does when its ledger does not answer, and when its answer comes too late. */
export function storeCases({ serve }: Suite): void {
  it.each([
    ["hangs", () => new Promise<never>(() => {})],
    ["fails", () => Promise.reject(new Error("connection refused by 10.0.0.1"))],
  ])("answers 503 with Retry-After within storeTimeoutMs when the store %s, and runs nothing", async (_how, fails) => {
    let runs = 0;
    const { client, store, events } = await serve({
      options: { storeTimeoutMs: 300 },
      routes: [{ path: "/", handler: () => ({ json: ++runs }) }],
    });
    const claim = store.executions.claim;
    store.executions.claim = fails;
    const answer = await inTime(2_000, client.send({ key: "k" }));
    expectProblem(answer, 503, "STORE_UNAVAILABLE", true);
    expect(answer.headers["retry-after"]).toBe("1");
    expect(answer.text).not.toContain("10.0.0.1");
    expect([runs, events.map(({ type }) => type)]).toEqual([0, ["store_error"]]);
    store.executions.claim = claim;
    // Its time is short, also for a machine that is busy.
    await eventually(async () => (await client.send({ key: "k" })).text).toBe("1");
  });

  it("serves without protection when told to, and says so in an event", async () => {
    const { client, store, events } = await serve({
      options: { storeTimeoutMs: 100, onStoreError: "open" },
      routes: [
        { path: "/", handler: ({ execution }) => ({ status: 418, json: { attempt: execution?.attempt } }) },
        { path: "/plain", layer: false, handler: () => ({ status: 418, json: { attempt: 1 } }) },
      ],
    });
    store.executions.claim = () => new Promise(() => {});
    const answer = await client.send({ key: "k" });
    const plain = await client.send({ path: "/plain" });
    expect([answer.status, answer.text, endToEnd(answer)]).toEqual([418, '{"attempt":1}', endToEnd(plain)]);
    expect(events).toMatchObject([{ type: "store_error", ranUnprotected: true }]);
  });

  it("gives the answer when it can't be made durable, unless told to refuse", async () => {
    const { client, store } = await serve({
      // A claim has the time that a busy machine takes; an outcome is sent again until the end of its lease.
      options: { storeTimeoutMs: 20_000, leaseMs: 1_000 },
      routes: [
        { path: "/return", handler: () => ({ status: 201, json: 1 }) },
        {
          path: "/throw",
          layer: { onCompleteFailure: "throw" },
          handler: () => ({ status: 201, headers: { "X-Own": "1" }, json: 1 }),
        },
      ],
    });
    store.executions.complete = async () => {
      throw new Error("disk full");
    };
    expect((await client.send({ path: "/return", key: "k" })).status).toBe(201);
    const refused = await client.send({ path: "/throw", key: "k" });
    expectProblem(refused, 503, "STORE_UNAVAILABLE", true);
    expect(refused.headers["x-own"]).toBeUndefined();
    expect(refused.text).not.toContain("disk full");
  });

  it.each(["whole", "begun"])(
    "gives an attempt that was overtaken the winner's response, unless its own has begun: %s",
    async (kind) => {
      let runs = 0;
      const working = gate();
      async function* begun(): AsyncGenerator<string> {
        yield "own ";
        await working.opened;
        yield "answer";
      }
      const { client, store } = await serve({
        options: { leaseMs: 150 },
        routes: [
          {
            path: "/",
            handler: async () => {
              runs += 1;
              if (runs > 1) return { status: 201, headers: { "X-Run": "2" }, json: { run: 2 } };
              const headers = { "Content-Type": "text/plain", "X-Run": "1", "X-Stale": "1" };
              if (kind === "begun") return { headers, body: begun() };
              await working.opened;
              return { headers, body: "own answer" };
            },
          },
        ],
      });
      store.executions.renew = async () => ({ status: "lost" });
      const first = client.send({ key: "k" });
      await eventually(() => runs).toBe(1);
      await eventually(async () => (await client.send({ key: "k" })).status).toBe(201);
      working.open();
      const { status, text, headers } = await first;
      if (kind === "begun") expect([status, text, headers["x-run"]]).toEqual([200, "own answer", "1"]);
      else {
        expect([status, text, headers["x-run"]]).toEqual([201, '{"run":2}', "2"]);
        expect([headers["idempotent-replayed"], headers["x-stale"]]).toEqual(["true", undefined]);
      }
      expect(runs).toBe(2);
    },
  );

  it.each(["response", "error"] as const)(
    "answers its client when an operator completes it with a(n) %s meanwhile",
    async (kind) => {
      let runs = 0;
      const working = gate();
      const { client, store } = await serve({
        routes: [
          {
            path: "/",
            handler: async () => {
              runs += 1;
              await working.opened;
              return { json: "its own" };
            },
          },
        ],
      });
      const first = client.send({ key: "k" });
      await eventually(() => runs).toBe(1);
      const call = { timeoutMs: 20_000 };
      const [running] = await store.executions.list({ limit: 1 }, call);
      const { id = "", token = 0 } = running ?? {};
      const seizure = { id, token, nonce: "operator", leaseMs: 30_000, retentionMs: 60_000 };
      const seized = await store.executions.seize(seizure, call);
      if (seized.status !== "seized") throw new Error(`it is ${seized.status}`);
      const codec = outcomeCodec(responseCodec(taggedJson), 1_000_000);
      const given = responseOf({ status: 202, body: "given" });
      const { outcome } = kind === "error" ? codec.encodeError(id, new Error("no")) : codec.encodeValue(id, given);
      const holder = { id, token: seized.token, nonce: "operator" };
      await store.executions.complete({ ...holder, outcome, retentionMs: 60_000 }, call);
      working.open();
      const answer = await first;
      if (kind === "error") expectProblem(answer, 500, "RECORD_CORRUPT", false);
      else expect([answer.status, answer.text, runs]).toEqual([202, "given", 1]);
    },
  );

  it("refuses an abandoned execution with 409, or asks the resolver for the response", async () => {
    let runs = 0;
    const never = gate();
    const handler = async () => {
      runs += 1;
      await never.opened;
      return { json: runs };
    };
    const { client } = await serve({
      options: { leaseMs: 100, abandonAfterMs: 10 },
      routes: [
        { path: "/reject", layer: { onAbandoned: "reject" }, handler },
        {
          path: "/resolve",
          layer: { onAbandoned: () => ({ completed: { status: 202, headers: { "X-Known": "1" }, body: [1] } }) },
          handler,
        },
      ],
    });
    for (const [index, path] of ["/reject", "/resolve"].entries()) {
      const sent = client.begin({ path, key: "k" });
      await eventually(() => runs).toBe(index + 1);
      sent.destroy();
      await eventually(async () => (await client.send({ path, key: "k" })).headers["retry-after"]).toBeUndefined();
    }
    expectProblem(await client.send({ path: "/reject", key: "k" }), 409, "ABANDONED", false);
    const resolved = await client.send({ path: "/resolve", key: "k" });
    expect([resolved.status, resolved.text, resolved.headers["x-known"]]).toEqual([202, "[1]", "1"]);
    expect([resolved.headers["idempotent-replayed"], runs]).toEqual(["true", 2]);
    never.open();
  });
}
