import { describe, expect, it } from "vitest";
import type { Step } from "../../src/reconcile/step.ts";
import { NotFound, TerminalError } from "../../src/resources/action-errors.ts";
import { actionKey } from "../../src/resources/action-key.ts";
import {
  deferred,
  dropStep,
  failStep,
  GROUP,
  LEASE_MS,
  never,
  setUp,
  terminateStep,
  updateStep,
} from "./executor-set-up.ts";

const FORCE = { type: "forceTerminate" } as const;

function strayStep(change: object = {}): Step {
  return { type: "terminate", id: "a", incarnation: 4, reason: "Zombie", externalId: "vm-9", ...change } as Step;
}

describe("terminating", () => {
  it("writes TERMINATING before the call, and TERMINATED after it", async () => {
    const { process, seed, row, calls } = setUp();
    const surplus = await seed("PROVISIONED");
    let then: unknown;
    const { run } = process({
      terminate: async () => {
        then = await row();
      },
    });
    const [outcome] = await run(terminateStep(surplus));
    expect(then).toMatchObject({
      state: "TERMINATING",
      attempt: 1,
      reason: "Surplus",
      leaseExpiresAt: expect.any(Number),
    });
    expect(outcome).toMatchObject({ result: "done", row: { state: "TERMINATED", reason: "Surplus" } });
    expect((await row()).leaseExpiresAt).toBeUndefined();
    expect(calls[0]).toMatchObject({
      resource: { state: "TERMINATING", externalId: "vm-of-a" },
      context: {
        attempt: 1,
        idempotencyKey: actionKey({ group: GROUP, id: "a", incarnation: 1, action: "terminate" }),
      },
    });
  });

  it("under an own observe stays TERMINATING, and nobody holds the row", async () => {
    const { process, seed, row } = setUp();
    const { run } = process({}, { ownObserve: true });
    expect(await run(terminateStep(await seed("PROVISIONED")))).toMatchObject([
      { result: "done", row: { state: "TERMINATING" } },
    ]);
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it.each([
    [false, "TERMINATED"],
    [true, "TERMINATING"],
  ] as const)("takes NotFound for success (own observe: %s)", async (ownObserve, state) => {
    const { process, seed } = setUp();
    const { run } = process({ terminate: () => Promise.reject(new NotFound("gone")) }, { ownObserve });
    expect(await run(terminateStep(await seed("PROVISIONED")))).toMatchObject([{ result: "done", row: { state } }]);
  });

  it("that throws is called again under the same key, and keeps why the resource failed", async () => {
    const { process, seed, row, calls } = setUp();
    const failed = await seed("FAILED", { reason: "HeartbeatStale" });
    const error = new Error("busy");
    const { run } = process({ terminate: () => Promise.reject(error) });
    expect(await run(terminateStep(failed))).toMatchObject([
      { result: "failed", error, row: { state: "TERMINATING" } },
    ]);
    expect((await row()).leaseExpiresAt).toBeUndefined();
    expect(await process().run(terminateStep(await row()))).toMatchObject([{ result: "done" }]);
    expect(calls.map(({ context }) => context.attempt)).toEqual([1, 2]);
    expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size).toBe(1);
    expect(await row()).toMatchObject({ state: "TERMINATED", reason: "HeartbeatStale" });
  });

  it("that never settles ends with its time, and is free for the next try", async () => {
    const { process, seed, row, clock } = setUp();
    const executed = process({ terminate: never }).run(terminateStep(await seed("PROVISIONED")));
    await clock.advance(30_000);
    expect(await executed).toMatchObject([{ result: "failed", timedOut: true }]);
    expect(await row()).toMatchObject({ state: "TERMINATING", attempt: 1 });
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("aborted with the signal is free for the next try", async () => {
    const { process, seed, row, clock } = setUp();
    const { executor } = process({ terminate: never });
    const stop = new AbortController();
    const step = terminateStep(await seed("PROVISIONED"));
    const executed = executor.execute([step], { mayBegin: () => true, signal: stop.signal });
    await clock.advance(0);
    stop.abort();
    await clock.advance(0);
    expect(await executed).toMatchObject([{ result: "failed", timedOut: true }]);
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("leaves a row alone that another process acts on", async () => {
    const { process, seed, clock, calls } = setUp();
    const held = await seed("TERMINATING", { lease: { durationMs: LEASE_MS, token: "grant" } });
    expect(await process().run(terminateStep(held))).toMatchObject([{ result: "lost" }]);
    expect(calls).toEqual([]);
    await clock.advance(LEASE_MS);
    expect(await process().run(terminateStep(held))).toMatchObject([{ result: "done" }]);
  });

  it("again of one that was TERMINATED leaves it so", async () => {
    const { process, seed, row, calls } = setUp();
    const zombie = await seed("TERMINATED", { reason: "HeartbeatStale" });
    const { run } = process({}, { ownObserve: true });
    const step = terminateStep(zombie, { again: true, reason: "Zombie" });
    expect(await run(step)).toMatchObject([{ result: "done", row: { state: "TERMINATED", reason: "HeartbeatStale" } }]);
    expect(calls).toHaveLength(1);
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("of one that was TERMINATED without being asked again is an illegal transition", async () => {
    const { process, seed, row, calls } = setUp();
    const ended = await seed("TERMINATED");
    expect(await process().run(terminateStep(ended))).toMatchObject([
      { result: "failed", error: { code: "ILLEGAL_TRANSITION" } },
    ]);
    expect(calls).toEqual([]);
    expect((await row()).version).toBe(ended.version);
  });
});

describe("forcing", () => {
  it("is not late: terminate has until the end of the grace period", async () => {
    const { process, seed, row, clock, calls } = setUp();
    const { run } = process({ terminate: never, forceTerminate: undefined }, { terminateGraceMs: 8_000 });
    const first = run(terminateStep(await seed("PROVISIONED")));
    await clock.advance(7_999);
    expect(calls[0]?.context.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(await first).toMatchObject([{ result: "failed", timedOut: true }]);
    expect(await run(terminateStep(await row(), FORCE))).toMatchObject([
      { result: "done", row: { state: "TERMINATED" } },
    ]);
    expect(calls.map(({ action }) => action)).toEqual(["terminate", "forceTerminate"]);
    expect(calls[0]?.context.idempotencyKey).not.toBe(calls[1]?.context.idempotencyKey);
  });

  it("takes terminate's place once the grace period has passed: that is lost then, and calls nobody", async () => {
    const { process, seed, row, clock, calls } = setUp();
    const { run } = process({ forceTerminate: undefined });
    const terminating = await seed("TERMINATING");
    await clock.advance(30_000);
    expect(await run(terminateStep(terminating))).toMatchObject([{ result: "lost" }]);
    expect(calls).toEqual([]);
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("does not hurry a resource that was TERMINATED long ago and is there again", async () => {
    const { process, seed, clock, calls } = setUp();
    const { run } = process({ forceTerminate: undefined }, { ownObserve: true });
    const zombie = await seed("TERMINATED");
    await clock.advance(3_600_000);
    expect(await run(terminateStep(zombie, { again: true }))).toMatchObject([{ result: "done" }]);
    expect(calls.map(({ action }) => action)).toEqual(["terminate"]);
  });

  it("before the grace period has passed by the store's clock is lost, and calls nobody", async () => {
    const { process, seed, row, clock, calls } = setUp();
    const { run } = process({ forceTerminate: undefined });
    const terminating = await seed("TERMINATING");
    await clock.advance(29_999);
    expect(await run(terminateStep(terminating, FORCE))).toMatchObject([{ result: "lost" }]);
    expect((await row()).leaseExpiresAt).toBeUndefined();
    expect(calls).toEqual([]);
    await clock.advance(1);
    expect(await run(terminateStep(await row(), FORCE))).toMatchObject([{ result: "done" }]);
  });
});

describe("terminating what no row is kept of", () => {
  it("calls with what is known of it, and writes nothing", async () => {
    const { process, rows, calls } = setUp();
    const { run, log } = process();
    expect(await run(strayStep())).toMatchObject([{ result: "done" }]);
    expect(calls).toMatchObject([
      {
        resource: { group: GROUP, id: "a", incarnation: 4, externalId: "vm-9", state: "TERMINATING", version: 0 },
        context: { attempt: 1, fencingToken: 0 },
      },
    ]);
    expect(await rows()).toEqual([]);
    expect(log.operations).toEqual(["resources.apply"]);
    await run(strayStep({ externalId: "vm-10" }), strayStep());
    const keys = calls.map(({ context }) => context.idempotencyKey);
    expect(keys[2]).toBe(keys[0]);
    expect(keys[1]).not.toBe(keys[0]);
  });

  it.each([
    ["throws", () => Promise.reject(new Error("busy")), 0, { result: "failed", error: { message: "busy" } }],
    ["is not found", () => Promise.reject(new NotFound()), 0, { result: "done" }],
    ["never settles", never, 30_000, { result: "failed", timedOut: true, error: { code: "WAIT_TIMEOUT" } }],
  ])("tells when it %s", async (_name, terminate, ms, expected) => {
    const { process, clock } = setUp();
    const executed = process({ terminate }).run(strayStep());
    await clock.advance(ms);
    expect(await executed).toMatchObject([expected]);
  });

  it("is fenced by a higher epoch", async () => {
    const { process, ledger, calls } = setUp();
    await ledger.resources.apply({ group: GROUP, epoch: 2, writes: [] }, { timeoutMs: 1_000 });
    expect(await process().run(strayStep())).toMatchObject([{ result: "fenced" }]);
    expect(calls).toEqual([]);
  });
});

describe("updating", () => {
  it("says the new spec in the ledger before it calls back, and that it is open until that has returned", async () => {
    const { process, seed, row, calls } = setUp();
    const old = await seed("PROVISIONED", { spec: '{"size":1}' });
    let then: unknown;
    const { run } = process({
      update: async () => {
        then = await row();
      },
    });
    const [outcome] = await run(updateStep(old, '{"size":2}', 2));
    const begun = { spec: '{"size":2}', generation: 2, attempt: 1, reason: "SpecChanged" };
    expect(then).toMatchObject({ ...begun, state: "PROVISIONED", externalId: "vm-of-a" });
    expect(calls).toMatchObject([{ action: "update", resource: { spec: { size: 2 }, generation: 2 } }]);
    expect(outcome).toMatchObject({ result: "done", row: { ...begun, attempt: 0, state: "PROVISIONED" } });
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("that fails stays open, and is tried again under the same key", async () => {
    const { process, seed, row, calls } = setUp();
    const old = await seed("PROVISIONED", { spec: '{"size":1}', attempt: 0 });
    const error = new Error("busy");
    const failing = process({ update: () => Promise.reject(error) });
    expect(await failing.run(updateStep(old, '{"size":2}', 2))).toMatchObject([{ result: "failed", error }]);
    expect(await row()).toMatchObject({ spec: '{"size":2}', generation: 2, attempt: 1, state: "PROVISIONED" });
    expect((await row()).leaseExpiresAt).toBeUndefined();
    await process().run(updateStep(await row(), '{"size":2}', 2));
    expect(calls.map(({ context }) => context.attempt)).toEqual([1, 2]);
    expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size).toBe(1);
  });

  it("that says that nothing was done leaves everything as it was", async () => {
    const { process, seed, row } = setUp();
    const old = await seed("PROVISIONED", { spec: '"a"', attempt: 0, reason: "Observed" });
    const { run } = process({ update: () => Promise.reject(new TerminalError()) });
    expect(await run(updateStep(old, '"b"', 2))).toMatchObject([{ result: "failed" }]);
    expect(await row()).toMatchObject({ spec: '"a"', generation: 1, attempt: 0, reason: "Observed" });
    expect((await row()).leaseExpiresAt).toBeUndefined();
  });

  it("that says so over one that is open leaves what it is of unknown", async () => {
    const { process, seed, row } = setUp();
    await seed("PROVISIONED", { spec: '"a"', attempt: 0 });
    await process({ update: () => Promise.reject(new Error("lost")) }).run(updateStep(await row(), '"b"', 2));
    const { run } = process({ update: () => Promise.reject(new TerminalError()) });
    await run(updateStep(await row(), '"c"', 3));
    expect(await row()).toMatchObject({ spec: '"c"', generation: 3, attempt: 1 });
    await run(updateStep(await row(), '"c"', 3));
    expect(await row()).toMatchObject({ spec: '"c"', generation: 3, attempt: 2 });
  });

  it("has a key of its own each time that it is begun, also where the generation does not change", async () => {
    const { process, seed, row, calls } = setUp();
    await seed("PROVISIONED", { spec: '"a"', attempt: 0 });
    const lossy = process({ update: () => Promise.reject(new Error("lost")) });
    for (const spec of ['"b"', '"c"', '"b"']) await lossy.run(updateStep(await row(), spec, 1));
    await process().run(updateStep(await row(), '"b"', 1));
    const keys = calls.map(({ context }) => context.idempotencyKey);
    expect(new Set(keys).size).toBe(3);
    expect(keys[3]).toBe(keys[2]);
    expect(await row()).toMatchObject({ spec: '"b"', generation: 4, attempt: 0 });
  });

  it("to a spec that it had before is another update", async () => {
    const { process, seed, row, calls } = setUp();
    await seed("PROVISIONED", { spec: '"a"', attempt: 0 });
    const { run } = process();
    await run(updateStep(await row(), '"b"', 2));
    await run(updateStep(await row(), '"a"', 3));
    await run(updateStep(await row(), '"b"', 4));
    expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size).toBe(3);
    expect(calls.map(({ context }) => context.attempt)).toEqual([1, 1, 1]);
  });
});

describe("saying in the ledger alone", () => {
  it("that one failed, one is gone, one was found: in one store call, and nobody is called", async () => {
    const { process, seed, row, calls } = setUp();
    const silent = await seed("PROVISIONED");
    const gone = await seed("TERMINATING", {}, "b");
    const { run, log } = process();
    const adopt: Step = {
      type: "adopt",
      id: "c",
      incarnation: 1,
      reason: "Observed",
      after: 0,
      externalId: "vm-c",
      spec: '{"size":1}',
      generation: 2,
    };
    expect(await run(failStep(silent), dropStep(gone), adopt)).toMatchObject([
      { result: "done" },
      { result: "done" },
      { result: "done" },
    ]);
    expect(await row("a")).toMatchObject({ state: "FAILED", reason: "HeartbeatStale", externalId: "vm-of-a" });
    expect(await row("b")).toMatchObject({ state: "TERMINATED", reason: "NotObserved" });
    expect(await row("c")).toMatchObject({
      state: "PROVISIONED",
      externalId: "vm-c",
      generation: 2,
      reason: "Observed",
    });
    expect(log.operations).toEqual(["resources.apply"]);
    expect(calls).toEqual([]);
  });

  it("is lost where another wrote first", async () => {
    const { process, seed, write, row } = setUp();
    const silent = await seed("PROVISIONED");
    await write(silent, { state: "TERMINATING" });
    expect(await process().run(failStep(silent), dropStep(silent))).toMatchObject([
      { result: "lost", row: { state: "TERMINATING" } },
      { result: "lost" },
    ]);
    expect(await row()).toMatchObject({ state: "TERMINATING" });
  });
});

describe("a callback that outlives its lease", () => {
  it("is lost when another process took the row over, and its signal says so", async () => {
    const { process, seed, row, write, clock, calls } = setUp();
    const done = deferred();
    const { run } = process({ terminate: () => done.promise });
    const executed = run(terminateStep(await seed("PROVISIONED")));
    await clock.advance(0);
    await write(await row(), { attempt: 2, lease: { durationMs: LEASE_MS, token: "grant" } });
    await clock.advance(LEASE_MS / 3);
    expect(await executed).toMatchObject([{ result: "lost", row: { attempt: 2 } }]);
    expect(calls[0]?.context.signal.reason).toMatchObject({ code: "LEASE_LOST" });
    done.resolve();
    await clock.advance(0);
    expect(await row()).toMatchObject({ state: "TERMINATING", attempt: 2 });
  });
});
