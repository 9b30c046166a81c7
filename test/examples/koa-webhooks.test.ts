import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ExampleServer, startExample } from "../support/example-server.ts";

interface Delivery {
  readonly provider?: string;
  readonly id?: string;
  readonly secret?: string;
  readonly event?: object;
  /** Seconds. */
  readonly age?: number;
}

describe("examples/koa-webhooks", () => {
  let server: ExampleServer;

  async function deliver({
    provider = "acme",
    id = "evt_1",
    secret = `${provider}-secret`,
    event = { type: "invoice.paid", account: "alice", amount: 1_000 },
    age = 0,
  }: Delivery = {}) {
    const time = String(Math.floor(Date.now() / 1_000) - age);
    const body = JSON.stringify(event);
    const signature = createHmac("sha256", secret).update(`${id}.${time}.${body}`).digest("base64");
    const answer = await fetch(`${server.url}/webhooks/${provider}`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Webhook-Id": id,
        "Webhook-Timestamp": time,
        "Webhook-Signature": `v1,${signature}`,
      },
      body,
    });
    const { status, headers } = answer;
    const replayed = headers.get("idempotent-replayed") === "true";
    return { status, replayed, headers, text: await answer.text() };
  }

  const account = (name: string, method = "GET"): Promise<Response> =>
    fetch(`${server.url}/accounts/${name}`, { method });
  const balance = async (name: string): Promise<number> =>
    ((await (await account(name)).json()) as { balance: number }).balance;

  beforeAll(async () => {
    server = await startExample("koa-webhooks", /The balance is at/);
  });
  afterAll(() => server.dispose());

  it("asks for an event again until it can book it, and books it once", async () => {
    const early = await deliver();
    expect([early.status, early.headers.get("retry-after")]).toEqual([503, "60"]);
    expect((await account("alice", "PUT")).status).toBe(204);
    const [first, again] = [await deliver(), await deliver()];
    expect([first.status, first.replayed, first.text]).toEqual([200, false, '{"account":"alice","balance":1000}']);
    expect([again.status, again.replayed, again.text]).toEqual([200, true, first.text]);
    expect(await balance("alice")).toBe(1_000);
  });

  it("books an event once that is delivered many times at once", async () => {
    const before = await balance("alice");
    const answers = await Promise.all(Array.from({ length: 10 }, () => deliver({ id: "evt_2" })));
    expect(answers.filter(({ status, replayed }) => status === 200 && !replayed)).toHaveLength(1);
    expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
    expect(await balance("alice")).toBe(before + 1_000);
  });

  it("takes the same id of another provider for another event, and of the same one for a mistake", async () => {
    const before = await balance("alice");
    expect(await deliver({ provider: "globex" })).toMatchObject({ status: 200, replayed: false });
    expect(await balance("alice")).toBe(before + 1_000);
    const event = { type: "invoice.paid", account: "alice", amount: 2_000 };
    expect((await deliver({ event })).status).toBe(422);
    expect(await balance("alice")).toBe(before + 1_000);
  });

  it("answers only a provider that has signed, lately, and what has an id", async () => {
    expect((await deliver({ secret: "guessed" })).status).toBe(401);
    expect((await deliver({ age: 600 })).status).toBe(401);
    expect((await deliver({ provider: "nobody" })).status).toBe(404);
    expect((await deliver({ id: "" })).status).toBe(400);
  });

  it("keeps that an event was of no interest", async () => {
    const event = { type: "invoice.viewed" };
    const answers = [await deliver({ id: "evt_3", event }), await deliver({ id: "evt_3", event })];
    expect(answers.map(({ status, replayed, text }) => [status, replayed, text])).toEqual([
      [204, false, ""],
      [204, true, ""],
    ]);
  });

  it("prints a delivery that works as it is, and remembers it after a restart", async () => {
    expect(await server.curl()).toMatch(/^HTTP\/1\.1 200 /);
    expect(await server.curl()).toMatch(/^idempotent-replayed: true/im);
    expect(await server.stop("SIGTERM")).toBe(0);
    await server.start();
    expect(await deliver()).toMatchObject({ status: 200, replayed: true, text: '{"account":"alice","balance":1000}' });
    expect(await balance("alice")).toBe(0);
  });
});
