import { EvenkeelError, Reconciler, withIdempotency } from "evenkeel";
import { idempotency } from "evenkeel/fastify";
import { idempotent } from "evenkeel/fetch";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, Partition } from "evenkeel/testing";
import Fastify from "fastify";
import { describe, expect, it } from "vitest";
import { keyHashOf, recordId } from "../../../src/idempotency/key.ts";
import { setUp, thrownBy, watch } from "../../idempotency/set-up.ts";
import { setUpTelemetry } from "./telemetry.ts";

const KEY = "secret-key-4242";
const SCOPE = "secret-scope";

/** Whatever any exporter could send of it. */
async function everything({ scrape, spans }: ReturnType<typeof setUpTelemetry>): Promise<string> {
  const sent = spans().map(({ name, attributes, events, links, status, resource }) => {
    return { name, attributes, events, links, status, resource: resource.attributes };
  });
  return `${await scrape()}\n${JSON.stringify(sent)}`;
}

describe("nothing of a key, a scope, an input, an outcome or an id", () => {
  it("is in any metric or span of executions, whatever became of them", async () => {
    const telemetry = setUpTelemetry();
    const { onEvent } = telemetry;
    const partition = new Partition();
    const { once, crash, clock } = setUp({ partition });
    const call = { key: KEY, scope: SCOPE };
    const input = { card: "secret-card" };
    const thrown = Object.assign(new Error("secret-message"), {
      cause: "secret-cause",
      code: "secret code",
      name: "secret name",
    });
    const options = { onEvent, inFlight: "wait" } as const;
    await crash(() => {}, input, { key: () => KEY, scope: SCOPE, onEvent });
    const charge = once((_: object) => ({ answer: "secret-answer" }), options);
    await charge(input, call);
    await charge(input, call);
    await thrownBy(charge({ card: "another secret-card" }, call));
    await thrownBy(once(() => Promise.reject(thrown), options)(undefined, { ...call, key: `${KEY}-2` }));
    const storing = once(() => Promise.reject(thrown), { ...options, onError: "store" });
    for (const _ of [1, 2]) await thrownBy(storing(undefined, { ...call, key: `${KEY}-3` }));
    const burying = once((_: undefined, ctx) => {
      void ctx.complete("secret-early");
      return () => "secret";
    }, options);
    await burying(undefined, { ...call, key: `${KEY}-4` });
    partition.cut("both");
    watch(charge(input, { ...call, key: `${KEY}-5` }));
    await clock.advance(5_000);
    const sent = await everything(telemetry);
    expect(telemetry.spans().length).toBeGreaterThan(4);
    expect(sent).not.toContain("secret");
    expect(sent).not.toContain(keyHashOf(recordId("charge", SCOPE, KEY)).slice(0, 8));
    // It would be seen if it were there.
    expect(sent).toContain("evenkeel.outcome");
    expect(sent).toContain("_OTHER");
  });

  it("is in any metric or span of reconcilers", async () => {
    const telemetry = setUpTelemetry();
    const clock = new ManualClock();
    const reconciler = new Reconciler<string>({
      name: "web",
      store: memoryStore({ clock }),
      clock,
      onEvent: telemetry.onEvent,
      create: ({ id }) => {
        if (id === "secret-b") throw new Error("secret-message");
        return Promise.resolve({ externalId: "secret-external" });
      },
      terminate: () => Promise.reject(new Error("secret-message")),
    });
    await reconciler.setDesired(["secret-a", "secret-b"].map((id) => ({ id, spec: "secret-spec" })));
    await reconciler.reconcile();
    await reconciler.setDesired([]);
    await reconciler.reconcile();
    const sent = await everything(telemetry);
    expect(sent).toContain('"evenkeel.action":"terminate"');
    expect(sent).not.toContain("secret");
  });

  it.each<[string, () => { id: string; spec?: unknown }[]]>([
    ["come twice", () => [{ id: "secret-a" }, { id: "secret-a" }]],
    ["have a spec that can't be stored", () => [{ id: "secret-a", spec: () => 1 }]],
    [
      "an error names",
      () => {
        throw new EvenkeelError("INVALID_OPTIONS", "secret-a is not known.");
      },
    ],
  ])("is in the span of a pass to which ids were given that %s", async (_how, desired) => {
    const telemetry = setUpTelemetry();
    const reconciler = new Reconciler<unknown>({
      name: "web",
      store: memoryStore(),
      onEvent: telemetry.onEvent,
      create: () => Promise.resolve(),
      terminate: () => Promise.resolve(),
      desired,
    });
    await reconciler.reconcile();
    expect(JSON.stringify(await reconciler.status())).toContain("secret-a");
    const sent = await everything(telemetry);
    expect(sent).not.toContain("secret");
    expect(sent).toContain('"evenkeel.condition":"DesiredFailed","evenkeel.status":true,"evenkeel.reason":"_OTHER"');
    expect(sent).toContain('"evenkeel.condition":"Converged","evenkeel.status":false,"evenkeel.reason":"');
  });

  it("comes with the paths of requests, which clients choose", async () => {
    const telemetry = setUpTelemetry();
    const { onEvent } = telemetry;
    const store = memoryStore();
    const app = Fastify();
    await app.register(idempotency, { store, scope: () => "", onEvent });
    app.post("/users/:name/reset/:token", async () => "done");
    const plain = idempotent(async () => new Response("done"), { store, scope: () => "", onEvent });
    const named = idempotent(async () => new Response("done"), { store, scope: () => "", operation: "reset", onEvent });
    for (let at = 0; at < 50; at += 1) {
      const url = `/users/secret-name-${at}/reset/secret-token-${at}`;
      const headers = { "Idempotency-Key": `key-${at}` };
      for (const _ of ["first", "retry"]) {
        await app.inject({ method: "POST", url, headers });
        await plain(new Request(`http://localhost/plain${url}`, { method: "POST", headers }));
        await named(new Request(`http://localhost/named${url}`, { method: "POST", headers }));
      }
    }
    await app.close();
    expect(await everything(telemetry)).not.toMatch(/secret-|key-\d/);
    const operations = [...(await telemetry.scrape()).matchAll(/idempotency_claims_total\{operation="([^"]*)"/g)];
    expect([...new Set(operations.map(([, operation]) => operation))].sort()).toEqual([
      "POST *",
      "POST /users/:name/reset/:token",
      "reset",
    ]);
  });

  it("is in the names of spans, which are as few as there are operations", async () => {
    const { onEvent, spans } = setUpTelemetry();
    const store = memoryStore();
    const call = withIdempotency((at: number) => at, { store, operation: "charge", onEvent });
    for (let at = 0; at < 20; at += 1) await call(at % 10, { key: `k${at % 10}` });
    expect(spans()).toHaveLength(20);
    expect(new Set(spans().map(({ name }) => name))).toEqual(new Set(["execute charge", "replay charge"]));
    await store.close();
  });
});
