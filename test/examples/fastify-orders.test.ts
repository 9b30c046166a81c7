import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExampleServer, startExample } from "../support/example-server.ts";

describe("examples/fastify-orders", () => {
  let server: ExampleServer;

  const order = (key: string | undefined, body: string, token = "alice", path = "/orders"): Promise<Response> => {
    const headers = { Authorization: `Bearer ${token}-token`, "Content-Type": "application/json" };
    const keyed = key === undefined ? headers : { ...headers, "Idempotency-Key": key };
    return fetch(`${server.url}${path}`, { method: "POST", headers: keyed, body });
  };
  const parcels = async (token: string): Promise<unknown[]> => {
    const answer = await fetch(`${server.url}/parcels`, { headers: { Authorization: `Bearer ${token}-token` } });
    return (await answer.json()) as unknown[];
  };

  beforeAll(async () => {
    server = await startExample("fastify-orders", /curl -i .*\n/);
  });
  afterAll(() => server.dispose());

  it("prints a line that does what it says when it is sent twice", async () => {
    const [first, again] = [await server.curl(), await server.curl()];
    for (const answer of [first, again]) expect(answer).toMatch(/^HTTP\/1\.1 201 /);
    expect([/^idempotent-replayed: true/im.test(first), /^idempotent-replayed: true/im.test(again)]).toEqual([
      false,
      true,
    ]);
    expect(await parcels("alice")).toHaveLength(1);
  });

  it("sends one parcel for an order that is sent many times at once", async () => {
    const before = (await parcels("alice")).length;
    const body = '{"item":"desk","quantity":2}';
    const answers = await Promise.all(Array.from({ length: 10 }, () => order("o1", body)));
    for (const { status } of answers) expect([201, 409]).toContain(status);
    const again = await order("o1", '{ "quantity": 2, "item": "desk" }');
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    const parcel = await again.json();
    expect(parcel).toMatchObject({ account: "alice", item: "desk", quantity: 2 });
    expect(again.headers.get("location")).toBe(`/parcels/${(parcel as { id: string }).id}`);
    expect(await parcels("alice")).toHaveLength(before + 1);
  });

  it("refuses what doesn't fit, and takes a corrected order under the same key", async () => {
    expect((await order("o2", '{"item":""}')).status).toBe(400);
    expect((await order("o2", '{"item":"cup"}')).status).toBe(201);
    expect((await order("o2", '{"item":"plate"}')).status).toBe(422);
    expect((await order("o2", '{"item":"plate","item":"cup"}')).status).toBe(422);
    const unkeyed = await order(undefined, '{"item":"cup"}');
    expect([unkeyed.status, await unkeyed.json()]).toEqual([400, expect.objectContaining({ code: "KEY_MISSING" })]);
  });

  it("knows whose key it is, and asks first who it is", async () => {
    const body = '{"item":"desk","quantity":2}';
    expect((await order("o1", body, "nobody")).status).toBe(401);
    const bobs = await order("o1", body, "bob");
    expect([bobs.status, bobs.headers.get("idempotent-replayed")]).toEqual([201, null]);
    expect(await parcels("bob")).toHaveLength(1);
  });

  it("has a route that takes no notice of keys", async () => {
    const search = (item: string) => order("s1", JSON.stringify({ item }), "alice", "/parcels/search");
    for (const item of ["desk", "cup"]) {
      const found = await search(item);
      expect([found.status, found.headers.get("idempotent-replayed")]).toEqual([200, null]);
      expect(await found.json()).toEqual([expect.objectContaining({ item })]);
    }
  });

  it("remembers the answers of an earlier start, and ends when it is told to", async () => {
    expect(await server.stop("SIGTERM")).toBe(0);
    await server.start();
    const again = await order("o2", '{"item":"cup"}');
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    expect(await parcels("alice")).toEqual([]);
  });
});
