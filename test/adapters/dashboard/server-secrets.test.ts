import { expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { Reconciler, withIdempotency } from "../../../src/index.ts";
import { servedBoard } from "./server-board.ts";

const SECRETS = [
  "key-of-alice",
  "scope-of-alice",
  "input-of-alice",
  "value-of-alice",
  "error-of-alice",
  "step-of-alice",
];
const [key = "", scope = "", input = "", value = "", error = "", step = ""] = SECRETS;

it("neither keys, scopes, inputs nor outcomes are in any byte that is served", async () => {
  const store = memoryStore();
  const reconciler = new Reconciler({ name: "web", store, create: async () => {}, terminate: async () => {} });
  await reconciler.setDesired([{ id: "a", spec: { password: "spec-of-alice" } }]);
  await reconciler.reconcile();
  const options = { store, operation: "pay" };
  const call = { key, scope };
  await withIdempotency(async (_: string) => value, options)(input, call);
  const failing = withIdempotency((_: string) => Promise.reject(new Error(error)), {
    ...{ store, operation: "fail", onError: () => "store" as const },
  });
  await failing(input, call).catch(() => {});
  let finish = (): void => {};
  const slow = withIdempotency(
    async (_: string, ctx) => {
      await ctx.step("wait", async () => step);
      await new Promise<void>((resolve) => (finish = resolve));
    },
    { store, operation: "slow" },
  );
  const running = slow(input, call);
  const claim = { id: "a".repeat(64), operation: "silent", ...call, nonce: "n", leaseMs: 1, retentionMs: 60_000 };
  await store.executions.claim({ ...claim, onAbandoned: "takeover" }, { timeoutMs: 60_000 });
  const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
  const watching = server.watch("/events?group=web");
  await expect.poll(() => watching.last?.executions?.running.map(({ operation }) => operation)).toContain("slow");
  await expect.poll(() => watching.last?.executions?.abandoned).toHaveLength(1);
  await expect.poll(() => watching.last?.executions?.recent).toHaveLength(4);
  const { id, token } = watching.last?.executions?.running.find(({ operation }) => operation === "slow") ?? {};
  for (const body of [
    { type: "release", id, token },
    { type: "release", id, token },
    { type: "release", id: key },
    { [key]: 1 },
  ])
    await server.ask("/actions", { method: "POST", body });
  for (const path of ["/", "/page.js", "/page.css", "/plan?group=web", "/nowhere"]) await server.ask(path);
  const updates = watching.updates.length;
  await expect.poll(() => watching.updates.length).toBeGreaterThan(updates);
  finish();
  await running.catch(() => {});
  expect(server.received.length).toBeGreaterThan(10_000);
  expect(server.received).toContain('"operation":"slow"');
  for (const secret of [...SECRETS, "spec-of-alice"]) expect(server.received, secret).not.toContain(secret);
});
