import { describe, expect, it } from "vitest";
import type { Step } from "../../src/reconcile/step.ts";
import { RetryAfter, TerminalError } from "../../src/resources/action-errors.ts";
import { actionKey } from "../../src/resources/action-key.ts";
import {
  againStep,
  createStep,
  deferred,
  failStep,
  GROUP,
  LEASE_MS,
  never,
  replaceStep,
  setUp,
} from "./executor-set-up.ts";

const createKey = (incarnation: number) => actionKey({ group: GROUP, id: "a", incarnation, action: "create" });

describe("creating", () => {
  it("writes PENDING, with the lease, before create is called, and PROVISIONED with what it returned", async () => {
    const { process, row, calls } = setUp();
    const seen: unknown[] = [];
    const { run, log } = process({
      create: async () => {
        seen.push(await row());
        return { externalId: "vm-7", region: "eu" };
      },
    });
    const [outcome] = await run(createStep("a", { spec: '{"size":1}', generation: 3 }));
    const kept = { incarnation: 1, spec: '{"size":1}', generation: 3, reason: "Missing" };
    expect(seen).toMatchObject([{ ...kept, state: "PENDING", attempt: 1, leaseExpiresAt: expect.any(Number) }]);
    expect(await row()).toMatchObject({ ...kept, state: "PROVISIONED", externalId: "vm-7", version: 2 });
    expect((await row()).leaseExpiresAt).toBeUndefined();
    expect(outcome).toMatchObject({ result: "done", row: { state: "PROVISIONED" } });
    expect(calls[0]).toMatchObject({
      resource: { group: GROUP, id: "a", state: "PENDING", spec: { size: 1 } },
      context: { idempotencyKey: createKey(1), attempt: 1, fencingToken: (await row()).fencingToken },
    });
    expect(log.operations).toEqual(["resources.apply", "resources.apply"]);
  });

  it.each([undefined, null, {}])("takes %s for a resource without a name", async (answer) => {
    const { process, row } = setUp();
    const [outcome] = await process({ create: async () => answer }).run(createStep());
    expect(outcome?.result).toBe("done");
    expect((await row()).externalId).toBeUndefined();
  });

  it.each(["vm-1", 7, { externalId: "" }, { externalId: 7 }, { externalId: "a\u0000b" }, [], () => {}])(
    "refuses %j as an answer, and leaves the row for the next try",
    async (answer) => {
      const { process, row } = setUp();
      const [outcome] = await process({ create: async () => answer }).run(createStep());
      expect(outcome).toMatchObject({ result: "failed", error: { code: "INVALID_OPTIONS" } });
      expect(String(outcome?.error)).toContain('"a"');
      expect(await row()).toMatchObject({ state: "PENDING", attempt: 1 });
      expect((await row()).leaseExpiresAt).toBeUndefined();
    },
  );

  it.each([
    ["an error", new Error("no capacity")],
    ["undefined", undefined],
    ["a RetryAfter", new RetryAfter(500)],
  ])("that throws %s fails, and is tried again at once under the same key", async (_name, thrown) => {
    const { process, row, calls } = setUp();
    const failing = process({
      create: async () => {
        throw thrown;
      },
    });
    const [outcome] = await failing.run(createStep());
    expect(outcome).toMatchObject({ result: "failed", row: { state: "PENDING" } });
    expect(outcome?.error).toEqual(thrown ?? new Error("The callback threw undefined."));
    expect(outcome?.timedOut).toBeUndefined();
    expect((await row()).leaseExpiresAt).toBeUndefined();
    const [again] = await process().run(againStep(await row()));
    expect(again).toMatchObject({ result: "done", row: { state: "PROVISIONED", incarnation: 1 } });
    expect(calls.map(({ context }) => context)).toMatchObject([
      { idempotencyKey: createKey(1), attempt: 1 },
      { idempotencyKey: createKey(1), attempt: 2 },
    ]);
  });

  it("that throws at once fails like one that rejects", async () => {
    const { process, row } = setUp();
    const thrown = new Error("at once");
    const throwing = () => {
      throw thrown;
    };
    expect(await process({ create: throwing }).run(createStep())).toMatchObject([{ result: "failed", error: thrown }]);
    expect(await row()).toMatchObject({ state: "PENDING" });
  });

  it("that throws a TerminalError says that nothing was made", async () => {
    const { process, row } = setUp();
    const thrown = new TerminalError("no such region");
    const [outcome] = await process({ create: () => Promise.reject(thrown) }).run(createStep());
    expect(outcome).toMatchObject({ result: "failed", error: thrown });
    expect(await row()).toMatchObject({ state: "PENDING", attempt: 0 });
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("that never settles ends with its time, and its row is held until the lease lapses", async () => {
    const { process, row, clock, calls } = setUp();
    const stuck = process({ create: never });
    const executed = stuck.run(createStep());
    await clock.advance(29_999);
    expect(stuck.executor.busy).toEqual(new Set(["a"]));
    await clock.advance(1);
    const [outcome] = await executed;
    expect(outcome).toMatchObject({ result: "failed", timedOut: true, error: { code: "WAIT_TIMEOUT" } });
    expect(calls[0]?.context.signal.reason).toBe(outcome?.error);
    const held = await row();
    const early = process();
    expect(await early.run(againStep(held))).toMatchObject([{ result: "lost", row: { state: "PENDING" } }]);
    await clock.advance(LEASE_MS);
    expect(await early.run(againStep(held))).toMatchObject([{ result: "done", row: { state: "PROVISIONED" } }]);
    expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size).toBe(1);
  });

  it("that returns after its time was up changes nothing", async () => {
    const { process, row, clock } = setUp();
    const late = deferred<unknown>();
    const executed = process({ create: () => late.promise }).run(createStep());
    await clock.advance(30_000);
    await executed;
    late.reject(new Error("late"));
    await clock.advance(0);
    expect(await row()).toMatchObject({ state: "PENDING" });
  });

  it("keeps the row for as long as it takes", async () => {
    const { process, row, clock, calls } = setUp();
    const done = deferred<void>();
    const slow = process({ create: () => done.promise }, { actionTimeoutMs: 600_000 });
    const executed = slow.run(createStep());
    await clock.advance(300_000);
    expect(await process().run(againStep(await row()))).toMatchObject([{ result: "lost" }]);
    done.resolve();
    await clock.advance(0);
    expect(await executed).toMatchObject([{ result: "done", row: { state: "PROVISIONED" } }]);
    expect(calls).toHaveLength(1);
  });

  it("is lost where another incarnation is there, or another writer was first", async () => {
    const { process, seed, write, row, calls } = setUp();
    const pending = await seed("PENDING");
    expect(await process().run(createStep())).toMatchObject([{ result: "lost", row: { state: "PENDING" } }]);
    await write(pending, { attempt: 2 });
    expect(await process().run(againStep(pending))).toMatchObject([{ result: "lost", row: { attempt: 2 } }]);
    expect(await row()).toMatchObject({ version: 3 });
    expect(calls).toEqual([]);
  });

  it("does not overwrite what another wrote while create ran", async () => {
    const { process, row, write, clock } = setUp();
    const done = deferred<unknown>();
    const executed = process({ create: () => done.promise }).run(createStep());
    await clock.advance(0);
    await write(await row(), { state: "PROVISIONED", externalId: "vm-other" });
    done.resolve({ externalId: "vm-mine" });
    await clock.advance(0);
    expect(await executed).toMatchObject([{ result: "lost", row: { externalId: "vm-other" } }]);
    expect(await row()).toMatchObject({ state: "PROVISIONED", externalId: "vm-other" });
  });

  it("aborts with the signal, and frees the row for whoever comes next, under the same key", async () => {
    const { process, row, clock, calls } = setUp();
    const { executor } = process({ create: never });
    const stop = new AbortController();
    const executed = executor.execute([createStep()], { mayBegin: () => true, signal: stop.signal });
    await clock.advance(0);
    const reason = new Error("stopped");
    stop.abort(reason);
    expect(await executed).toMatchObject([{ result: "failed", timedOut: true, error: reason }]);
    expect(calls[0]?.context.signal.reason).toBe(reason);
    const left = await row();
    expect(left).toMatchObject({ state: "PENDING", attempt: 1 });
    expect(left.leaseExpiresAt).toBeUndefined();
    const again = process();
    expect(await again.run({ ...createStep(), how: "again", row: left } as Step)).toMatchObject([{ result: "done" }]);
    expect(calls.map(({ context }) => context.idempotencyKey)).toEqual([createKey(1), createKey(1)]);
  });
});

describe("replacing", () => {
  it("makes the next incarnation beside the one that failed, under a key of its own", async () => {
    const { process, seed, rows, calls } = setUp();
    const failed = await seed("FAILED");
    expect(await process().run(replaceStep(failed, { reason: "HeartbeatStale" }))).toMatchObject([{ result: "done" }]);
    expect(await rows()).toMatchObject([
      { incarnation: 1, state: "FAILED" },
      { incarnation: 2, state: "PROVISIONED", reason: "HeartbeatStale" },
    ]);
    expect(calls[0]?.context.idempotencyKey).toBe(createKey(2));
    expect(createKey(2)).not.toBe(createKey(1));
  });

  it("buries the one that is gone first", async () => {
    const { process, seed, row, rows } = setUp();
    const gone = await seed("PROVISIONED");
    let then: unknown;
    const { run } = process({
      create: async () => {
        then = await row("a", 1);
      },
    });
    await run(replaceStep(gone, { reason: "NotObserved", gone }));
    expect(then).toMatchObject({ state: "TERMINATED", reason: "NotObserved", externalId: "vm-of-a" });
    expect(await rows()).toMatchObject([{ state: "TERMINATED" }, { state: "PROVISIONED" }]);
  });

  it("makes nothing where the one that is gone was changed by another", async () => {
    const { process, seed, write, rows, calls } = setUp();
    const gone = await seed("PROVISIONED");
    await write(gone, { state: "TERMINATING" });
    expect(await process().run(replaceStep(gone, { gone }))).toMatchObject([
      { result: "lost", row: { state: "TERMINATING" } },
    ]);
    expect(await rows()).toHaveLength(1);
    expect(calls).toEqual([]);
  });

  it("follows the failing of the same slot in one execution", async () => {
    const { process, seed, rows } = setUp();
    const silent = await seed("PROVISIONED");
    const outcomes = await process().run(replaceStep(silent), failStep(silent));
    expect(outcomes).toMatchObject([{ result: "done" }, { result: "done" }]);
    expect(await rows()).toMatchObject([
      { state: "FAILED", reason: "HeartbeatStale" },
      { state: "PROVISIONED", incarnation: 2 },
    ]);
  });

  it("is lost where the failing is, because a beat came in between", async () => {
    const { process, seed, ledger, rows, clock, calls } = setUp();
    const silent = await seed("PROVISIONED");
    await clock.advance(31_000);
    await ledger.resources.heartbeat({ group: GROUP, beats: [{ id: "a" }] }, { timeoutMs: 1_000 });
    const outcomes = await process().run(failStep(silent, { ifSilentForMs: 30_999 }), replaceStep(silent));
    expect(outcomes).toMatchObject([{ result: "lost" }, { result: "lost" }]);
    expect(await rows()).toMatchObject([{ state: "PROVISIONED", incarnation: 1 }]);
    expect(calls).toEqual([]);
  });
});

describe("two processes", () => {
  it("that execute the same steps call create once for each incarnation", async () => {
    const { process, rows, calls, clock } = setUp();
    const steps = ["a", "b", "c", "d", "e"].map((id) => createStep(id));
    const processes = [process(), process(), process()];
    const executed = Promise.all(processes.map(({ run }) => run(...steps)));
    await clock.advance(0);
    const results = (await executed).flat().map(({ result }) => result);
    expect(calls.map(({ resource }) => resource.id).sort()).toEqual(["a", "b", "c", "d", "e"]);
    expect(results.filter((result) => result === "done")).toHaveLength(5);
    expect(results.filter((result) => result === "lost")).toHaveLength(10);
    expect(await rows()).toHaveLength(5);
  });

  it("that take one interrupted creation over call create once", async () => {
    const { process, seed, calls, clock } = setUp();
    const pending = await seed("PENDING", { lease: { durationMs: 1_000, token: "grant" } });
    await clock.advance(1_000);
    const executed = Promise.all([process().run(againStep(pending)), process().run(againStep(pending))]);
    await clock.advance(0);
    expect((await executed).flat().map(({ result }) => result)).toEqual(["done", "lost"]);
    expect(calls).toHaveLength(1);
  });
});
