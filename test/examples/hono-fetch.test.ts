import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExampleServer, startExample } from "../support/example-server.ts";

describe("examples/hono-fetch", () => {
  let server: ExampleServer;

  const ask = (path: string, key: string | undefined, init: RequestInit = {}, token = "alice"): Promise<Response> => {
    const headers = {
      Authorization: `Bearer ${token}-token`,
      ...(key === undefined ? {} : { "Idempotency-Key": key }),
    };
    return fetch(`${server.url}${path}`, { method: "POST", headers, ...init });
  };
  const parcels = async (token: string): Promise<unknown[]> =>
    (await (await ask("/parcels", undefined, { method: "GET" }, token)).json()) as unknown[];

  beforeAll(async () => {
    server = await startExample("hono-fetch", /listening on .*\n/);
  });
  afterAll(() => server.dispose());

  it("sends one parcel for an order that is sent twice", async () => {
    const body = JSON.stringify({ item: "lamp" });
    const [first, again] = [await ask("/orders", "o1", { body }), await ask("/orders", "o1", { body })];
    for (const [answer, replayed] of [
      [first, null],
      [again, "true"],
    ] as const) {
      expect([answer.status, answer.headers.get("location")]).toEqual([201, "/parcels/p1"]);
      expect(answer.headers.get("idempotent-replayed")).toBe(replayed);
      expect(await answer.json()).toEqual({ id: "p1", account: "alice", item: "lamp" });
    }
    expect(await parcels("alice")).toHaveLength(1);
  });

  it("refuses what it can't take, and takes a corrected order under the same key", async () => {
    expect((await ask("/orders", "o2", { body: '{"item":""}' })).status).toBe(400);
    expect((await ask("/orders", "o2", { body: '{"item":"desk"}' })).status).toBe(201);
    expect((await ask("/orders", "o2", { body: '{"item":"door"}' })).status).toBe(422);
    expect((await ask("/orders", undefined, { body: '{"item":"desk"}' })).status).toBe(400);
  });

  it("knows whose key it is, and asks first who it is", async () => {
    const body = '{"item":"lamp"}';
    expect((await ask("/orders", "o1", { body }, "nobody")).status).toBe(401);
    const bobs = await ask("/orders", "o1", { body }, "bob");
    expect([bobs.status, bobs.headers.get("idempotent-replayed")]).toEqual([201, null]);
    expect(await parcels("bob")).toHaveLength(1);
  });

  it("replays a stream whole to a client that hung up after its first line", async () => {
    const body = "cup\nplate\nspoon";
    const before = await parcels("alice");
    const leaving = new AbortController();
    const first = await ask("/orders/batch", "b1", { body, signal: leaving.signal });
    const line = await first.body?.getReader().read();
    expect(new TextDecoder().decode(line?.value)).toMatch(/^cup: p\d+\n$/);
    leaving.abort();
    let retry: Response;
    do retry = await ask("/orders/batch", "b1", { body });
    while (retry.status === 409);
    expect([retry.status, retry.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
    expect(await retry.text()).toMatch(/^cup: p\d+\nplate: p\d+\nspoon: p\d+\n$/);
    expect(await parcels("alice")).toHaveLength(before.length + 3);
  });

  it("remembers the answers of an earlier start, and ends when it is told to", async () => {
    expect(await server.stop("SIGTERM")).toBe(0);
    await server.start();
    const again = await ask("/orders", "o1", { body: '{"item":"lamp"}' });
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    expect(await parcels("alice")).toEqual([]);
  });
});
