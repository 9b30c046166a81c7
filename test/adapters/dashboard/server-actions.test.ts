import { describe, expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { isEvenkeelError, type LedgerStore, Reconciler, withIdempotency } from "../../../src/index.ts";
import { faultyStore, ManualClock } from "../../../src/testing/index.ts";
import { until } from "../../support/until.ts";
import { endLater, servedBoard } from "./server-board.ts";
import type { Answer, Served } from "./server-set-up.ts";

const ID = "0".repeat(64);
const PAUSE = { type: "pause", group: "web" };

function act(server: Served, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return server.ask("/actions", { method: "POST", body, headers });
}

function web(store = memoryStore(), create: () => Promise<void> = async () => {}) {
  const reconciler = new Reconciler({ name: "web", store, create, terminate: async () => {} });
  return { store, reconciler };
}

describe("without actions", () => {
  it("nothing can be done, and the page is told so", async () => {
    const { store, reconciler } = web();
    const { server } = await servedBoard({ store, reconcilers: [reconciler] });
    for (const [method, path] of [
      ["POST", "/actions"],
      ["GET", "/actions"],
      ["GET", "/plan?group=web"],
      ["POST", "/plan?group=web"],
    ] as const)
      expect((await server.ask(path, { method, ...(method === "POST" ? { body: PAUSE } : {}) })).status).toBe(404);
    expect((await reconciler.status()).paused).toBe(false);
    const watching = server.watch();
    await expect.poll(() => watching.hello[0]?.actions).toBe(false);
  });
});

describe("a request of another page", () => {
  it.each([
    { "Sec-Fetch-Site": "cross-site" },
    { "Sec-Fetch-Site": "same-site" },
    { "Sec-Fetch-Site": "cross-site", Origin: "http://127.0.0.1" },
    { Origin: "http://evil.example" },
    { Origin: "null" },
    { Origin: "" },
    { Origin: "http://127.0.0.1:1" },
  ])("is refused: %o", async (headers) => {
    const { store, reconciler } = web();
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    const { status, text } = await act(server, PAUSE, headers as unknown as Record<string, string>);
    expect(status).toBe(403);
    expect(JSON.parse(text)).toMatchObject({ type: "urn:evenkeel:problem:other-origin", status: 403 });
    expect((await server.ask("/plan?group=web", { headers: headers as never })).status).toBe(403);
    expect((await reconciler.status()).paused).toBe(false);
  });

  it("can't say what forms say", async () => {
    const { store, reconciler } = web();
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data",
      "application/jsonx",
      "",
    ])
      expect((await act(server, JSON.stringify(PAUSE), { "Content-Type": type })).status, type).toBe(415);
    expect((await reconciler.status()).paused).toBe(false);
  });

  it("is not that of the page itself, or of a program", async () => {
    const { store, reconciler } = web();
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    const own = `127.0.0.1:${server.port}`;
    for (const headers of [
      { "Sec-Fetch-Site": "same-origin", Origin: "https://outside.example" },
      { Origin: `http://${own}`, Host: own },
      // Behind a proxy that speaks TLS.
      { Origin: "https://ops.example", Host: "ops.example" },
      {},
    ])
      expect((await act(server, PAUSE, headers as Record<string, string>)).status).toBe(204);
  });
});

describe("a body that is wrong", () => {
  it.each([
    ["body", "{"],
    ["body", "[]"],
    ["body", "null"],
    ["body", ""],
    ["type", {}],
    ["type", { type: "stop" }],
    ["type", { type: "toString" }],
    ["group", { type: "pause" }],
    ["group", { type: "pause", group: "" }],
    ["group", { type: "pause", group: "a\nb" }],
    ["id", { type: "pause", group: "web", id: "x" }],
    ["planHash", { type: "approve", group: "web" }],
    ["id", { type: "wake", group: "web" }],
    ["id", { type: "wake", group: "web", id: 1 }],
    ["id", { type: "release", id: "F".repeat(64), token: 1 }],
    ["token", { type: "release", id: ID }],
    ["token", { type: "release", id: ID, token: 1.5 }],
  ])("is a problem that names its %s: %j", async (field, body) => {
    const { server } = await servedBoard({ actions: true });
    const { status, headers, text } = await act(server, body, { "Content-Type": "application/json; charset=utf-8" });
    expect({ status, type: headers["content-type"] }).toEqual({ status: 400, type: "application/problem+json" });
    expect(JSON.parse(text).errors).toEqual([{ field, message: expect.any(String) }]);
  });

  it("or too large is not read to its end", async () => {
    const { server } = await servedBoard({ actions: true });
    expect((await act(server, { type: "pause", group: "x".repeat(100_000) })).status).toBe(413);
  });
});

describe("an action on a group", () => {
  it("pauses and resumes it, which pages see at once", async () => {
    const { store, reconciler } = web();
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true, intervalMs: 600_000 });
    const watching = server.watch();
    await expect.poll(() => watching.last?.groups?.[0]?.paused).toBe(false);
    expect((await act(server, PAUSE)).status).toBe(204);
    await expect.poll(() => watching.last?.groups?.[0]?.paused).toBe(true);
    expect((await act(server, { type: "resume", group: "web" })).status).toBe(204);
    await expect.poll(() => watching.last?.groups?.[0]?.paused).toBe(false);
  });

  it("wakes a resource that waits after it failed", async () => {
    let isBroken = true;
    const { store, reconciler } = web(undefined, async () => {
      if (isBroken) throw new Error("no");
    });
    await reconciler.setDesired(1);
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    // How long it waits is drawn: not at all, for once, or for less than a busy machine takes to look.
    await until("it waits", async () => (await reconciler.reconcile()).held[0]?.heldBy === "backoff");
    isBroken = false;
    expect((await act(server, { type: "wake", group: "web", id: "web-0" })).status).toBe(204);
    expect((await reconciler.reconcile()).actions[0]?.result).toBe("done");
  });

  it("shows a plan and carries it out, unless it is another by then", async () => {
    const { store, reconciler } = web();
    await reconciler.setDesired(60);
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    const planned = await server.ask("/plan?group=web");
    expect(planned.status).toBe(200);
    const plan = JSON.parse(planned.text);
    expect(plan).toMatchObject({ generation: 1, actionsTotal: 60, held: [], heldTotal: 0 });
    expect(plan.actions).toHaveLength(50);
    expect(plan.actions[0]).toEqual({
      ...{ type: "create", id: expect.stringMatching(/^web-/), incarnation: 1, reason: expect.any(String) },
    });
    await reconciler.setDesired(2);
    const approve = (hash: string) => act(server, { type: "approve", group: "web", planHash: hash });
    const late = await approve(plan.hash);
    expect(late.status).toBe(409);
    expect(JSON.parse(late.text)).toMatchObject({ type: "urn:evenkeel:problem:plan-changed" });
    expect((await reconciler.status()).observed.PROVISIONED).toBe(0);
    const approved = await approve(JSON.parse((await server.ask("/plan?group=web")).text).hash);
    expect({ status: approved.status, text: JSON.parse(approved.text) }).toEqual({
      ...{ status: 200, text: { done: 2, failed: 0, held: 0 } },
    });
    expect((await reconciler.status()).observed.PROVISIONED).toBe(2);
  });

  it("tells how much of an approved plan failed", async () => {
    const { store, reconciler } = web(undefined, () => Promise.reject(new Error("no")));
    await reconciler.setDesired(1);
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    const { hash } = await reconciler.plan();
    const { status, text } = await act(server, { type: "approve", group: "web", planHash: hash });
    expect({ status, text: JSON.parse(text) }).toEqual({ status: 200, text: { done: 0, failed: 1, held: 0 } });
  });

  it("that may do nothing here is refused: where the group is paused, and where another copy leads", async () => {
    const store = memoryStore();
    const leader = { isLeader: () => false, epoch: undefined, signal: new AbortController().signal };
    const created: string[] = [];
    const reconciler = new Reconciler({
      ...{ name: "web", store, leader, create: async ({ id }) => void created.push(id), terminate: async () => {} },
    });
    await reconciler.setDesired(2);
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    for (const type of ["not-leader", "group-paused"]) {
      const { hash } = await reconciler.plan();
      const { status, text } = await act(server, { type: "approve", group: "web", planHash: hash });
      expect({ status, type: JSON.parse(text).type }).toEqual({ status: 409, type: `urn:evenkeel:problem:${type}` });
      reconciler.pause();
    }
    expect(created).toEqual([]);
  });

  it("is not waited for when a pass takes long, and goes on", async () => {
    const clock = new ManualClock();
    let finish = (): void => {};
    const { store, reconciler } = web(undefined, () => new Promise((resolve) => (finish = resolve)));
    await reconciler.setDesired(1);
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true, clock });
    const { hash } = await reconciler.plan();
    const approved = act(server, { type: "approve", group: "web", planHash: hash });
    await until("the pass has begun", async () => (await reconciler.status()).observed.PENDING === 1);
    await clock.advance(10_000);
    expect((await approved).status).toBe(202);
    finish();
    await until("it is over", async () => (await reconciler.status()).observed.PROVISIONED === 1);
  });

  it("of another process is refused", async () => {
    const { server } = await servedBoard({ actions: true });
    for (const { status, text } of [await act(server, PAUSE), await server.ask("/plan?group=web")]) {
      expect(status).toBe(404);
      expect(JSON.parse(text)).toMatchObject({ type: "urn:evenkeel:problem:group-not-here" });
    }
    expect(JSON.parse((await server.ask("/plan")).text).errors[0].field).toBe("group");
  });

  it("that the ledger does not answer is a problem that says what is unknown", async () => {
    const inner = memoryStore();
    const { reconciler } = web(inner);
    const faults = [{ on: "executions.get", fault: "lostReply" }] as const;
    const store = faultyStore(inner, { faults });
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true, storeTimeoutMs: 50 });
    const { status, text } = await act(server, { type: "release", id: ID, token: 1 });
    expect(status).toBe(503);
    expect(JSON.parse(text)).toMatchObject({
      code: "STORE_UNAVAILABLE",
      type: "urn:evenkeel:problem:store-unavailable",
    });
  });
});

describe.each([
  ["memory", () => memoryStore()],
  ["SQLite", () => sqliteStore(":memory:")],
])("a release over %s", (_, openStore) => {
  it("takes a running execution away from its holder, and its next caller runs it", async () => {
    const store = openStore();
    const { server } = await servedBoard({ store, actions: true });
    let finish = (): void => {};
    const runs: number[] = [];
    const pay = withIdempotency(
      (_input: string, ctx) => {
        runs.push(ctx.attempt);
        return ctx.attempt === 1 ? new Promise<string>((resolve) => (finish = () => resolve("late"))) : "paid";
      },
      { store, operation: "pay", onLeaseLost: "throw" },
    );
    const first = pay("x", { key: "k" });
    const settled = first.then(
      (value) => value,
      (error: unknown) => (isEvenkeelError(error) ? error.code : error),
    );
    const watching = server.watch();
    await expect.poll(() => watching.last?.executions?.running).toHaveLength(1);
    const { id, token } = watching.last?.executions?.running[0] ?? { id: "", token: 0 };
    const released = await act(server, { type: "release", id, token });
    expect({ status: released.status, text: released.text }).toEqual({ status: 204, text: "" });
    expect(await pay("x", { key: "k" })).toBe("paid");
    finish();
    expect(await settled).toBe("LEASE_LOST");
    expect(runs).toEqual([1, 2]);
    const late = await act(server, { type: "release", id, token });
    expect(late.status).toBe(409);
    expect(JSON.parse(late.text)).toMatchObject({ type: "urn:evenkeel:problem:execution-completed" });
  });

  it("says that the holder lost it, also where somebody else took it before it was released", async () => {
    const inner = openStore();
    const store: LedgerStore = {
      ...inner,
      executions: {
        ...inner.executions,
        async release(request, call) {
          const another = {
            id: request.id,
            token: request.token,
            nonce: "another",
            leaseMs: 60_000,
            retentionMs: 60_000,
          };
          await inner.executions.seize(another, call);
          return inner.executions.release(request, call);
        },
      },
    };
    const { server } = await servedBoard({ store, actions: true });
    const terms = { operation: "pay", scope: "", nonce: "first", leaseMs: 60_000, retentionMs: 60_000 };
    const claimed = await inner.executions.claim({ ...terms, id: ID, onAbandoned: "takeover" }, { timeoutMs: 60_000 });
    const token = claimed.status === "acquired" ? claimed.token : 0;
    const { status, text } = await act(server, { type: "release", id: ID, token });
    expect(status).toBe(409);
    expect(JSON.parse(text)).toMatchObject({ type: "urn:evenkeel:problem:execution-changed" });
    expect(JSON.parse(text).detail).toMatch(/^It was taken from its holder/);
  });

  it("refuses what is not there, or was granted anew since it was seen", async () => {
    const store = openStore();
    const { server } = await servedBoard({ store, actions: true });
    const missing = await act(server, { type: "release", id: ID, token: 1 });
    expect({ status: missing.status, type: JSON.parse(missing.text).type }).toEqual({
      ...{ status: 404, type: "urn:evenkeel:problem:execution-missing" },
    });
    let finish = (): void => {};
    const slow = withIdempotency(() => new Promise<void>((resolve) => (finish = resolve)), {
      store,
      operation: "slow",
    });
    const running = slow("x", { key: "k" });
    endLater(() => running.catch(() => {}));
    endLater(() => finish());
    const watching = server.watch();
    await expect.poll(() => watching.last?.executions?.running).toHaveLength(1);
    const { id, token } = watching.last?.executions?.running[0] ?? { id: "", token: 0 };
    const other = await act(server, { type: "release", id, token: token + 1 });
    expect({ status: other.status, type: JSON.parse(other.text).type }).toEqual({
      ...{ status: 409, type: "urn:evenkeel:problem:execution-changed" },
    });
    expect((await store.executions.get(id, { timeoutMs: 60_000 }))?.token).toBe(token);
  });
});
