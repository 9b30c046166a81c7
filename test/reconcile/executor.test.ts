import type { Fault, FaultPlan } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { ResourceRecord } from "../../src/resources/resource.ts";
import {
  againStep,
  CALL,
  createStep,
  deferred,
  failStep,
  GROUP,
  never,
  replaceStep,
  setUp,
  terminateStep,
  updateStep,
} from "./executor-set-up.ts";

const ids = (count: number): string[] => Array.from({ length: count }, (_, at) => `id-${at}`);
const creations = (count: number) => ids(count).map((id) => createStep(id));

describe("the order of steps", () => {
  it("begins creations in batches of 1, 2, 4, … up to the concurrency", async () => {
    const { process, clock, calls } = setUp();
    const { run } = process({ create: () => clock.sleep(100) }, { concurrency: 5 });
    const executed = run(...creations(20));
    const begun: number[] = [];
    for (let batch = 0; batch < 6; batch += 1) {
      await clock.advance(50);
      begun.push(calls.length);
      await clock.advance(50);
    }
    await executed;
    expect(begun).toEqual([1, 3, 7, 12, 17, 20]);
    expect(calls.map(({ resource }) => resource.id)).toEqual(ids(20));
  });

  it("ends creations after the batch in which one failed", async () => {
    const { process, calls } = setUp();
    const create = async ({ id }: ResourceRecord): Promise<void> => {
      if (id === "id-1") throw new Error("no capacity");
    };
    const outcomes = await process({ create }).run(...creations(20));
    expect(calls.map(({ resource }) => resource.id)).toEqual(["id-0", "id-1", "id-2"]);
    expect(outcomes.slice(0, 3).map(({ result }) => result)).toEqual(["done", "failed", "done"]);
    expect(outcomes.slice(3).every(({ result }) => result === "notBegun")).toBe(true);
    expect(outcomes.map(({ step }) => step.id)).toEqual(ids(20));
  });

  it("goes on after a creation that was lost", async () => {
    const { process, seed } = setUp();
    await seed("PROVISIONED", {}, "id-0");
    const outcomes = await process().run(...creations(4));
    expect(outcomes.map(({ result }) => result)).toEqual(["lost", "done", "done", "done"]);
  });

  it("runs at most so many callbacks at a time, of all kinds together", async () => {
    const { process, clock, seed, calls } = setUp();
    let running = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(100);
      running -= 1;
    };
    const rows = await Promise.all(ids(30).map((id) => seed("PROVISIONED", {}, id)));
    const steps = rows.map((row, at) => (at % 2 === 0 ? terminateStep(row) : updateStep(row, '{"size":2}', 2)));
    const { run } = process({ create: work, terminate: work, update: work }, { concurrency: 4 });
    const executed = run(...steps, ...["x", "y", "z"].map((id) => createStep(id)));
    await clock.advance(10_000);
    expect((await executed).every(({ result }) => result === "done")).toBe(true);
    expect(most).toBe(4);
    // Creations do not wait until all terminations are over.
    expect(calls.findIndex(({ resource }) => resource.id === "z")).toBeLessThan(16);
  });

  it("never lets two callbacks of one slot overlap, in executions beside each other too", async () => {
    const { process, clock, seed, calls } = setUp();
    let running = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(100);
      running -= 1;
    };
    const old = await seed("FAILED");
    const { run, executor } = process({ create: work, terminate: work });
    const executed = Promise.all([run(terminateStep(old), replaceStep(old)), run(replaceStep(old, { after: 2 }))]);
    await clock.advance(150);
    expect(executor.busy).toEqual(new Set(["a"]));
    await clock.advance(1_000);
    await executed;
    expect(calls.length).toBeGreaterThanOrEqual(2);
    expect(most).toBe(1);
    expect(executor.busy.size).toBe(0);
  });

  it("tells each outcome as its step ends, when the slot is free", async () => {
    const { process, clock } = setUp();
    const told: string[] = [];
    const made = process(
      { create: ({ id }: ResourceRecord) => clock.sleep(id === "id-1" ? 300 : 100) },
      { onOutcome: ({ step }) => told.push(`${step.id} ${made.executor.busy.has(step.id)}`) },
    );
    const executed = made.run(...creations(3));
    expect(made.executor.busy).toEqual(new Set(ids(3)));
    await clock.advance(200);
    expect(told).toEqual(["id-0 false", "id-2 false"]);
    await clock.advance(200);
    expect(told).toEqual(["id-0 false", "id-2 false", "id-1 false"]);
    await executed;
  });

  it("begins nothing more once it may not, and lets finish what runs", async () => {
    const { process, clock, seed, calls } = setUp();
    const { executor } = process(
      { create: () => clock.sleep(100), terminate: () => clock.sleep(100) },
      { concurrency: 2 },
    );
    const surplus = [await seed("PROVISIONED", {}, "s-0"), await seed("PROVISIONED", {}, "s-1")];
    let mayBegin = true;
    const steps = [...creations(3), ...surplus.map((row) => terminateStep(row))];
    const executed = executor.execute(steps, { mayBegin: () => mayBegin });
    await clock.advance(50);
    mayBegin = false;
    await clock.advance(1_000);
    expect((await executed).map(({ result }) => result)).toEqual(["done", "notBegun", "notBegun", "done", "notBegun"]);
    expect(calls).toHaveLength(2);
  });

  it("begins nothing under a signal that has aborted", async () => {
    const { process, rows } = setUp();
    const { executor, log } = process();
    const outcomes = await executor.execute([createStep()], { mayBegin: () => true, signal: AbortSignal.abort() });
    expect(outcomes).toMatchObject([{ result: "notBegun" }]);
    expect(log.total).toBe(0);
    expect(await rows()).toEqual([]);
  });

  it("does nothing, and asks the store nothing, for no steps", async () => {
    const { process } = setUp();
    const { run, log } = process();
    expect(await run()).toEqual([]);
    expect(log.total).toBe(0);
  });
});

describe("a higher epoch", () => {
  it("fences a creation before create is called", async () => {
    const { process, ledger, calls, rows } = setUp();
    await ledger.resources.apply({ group: GROUP, epoch: 2, writes: [] }, CALL);
    const outcomes = await process().run(createStep());
    expect(outcomes).toMatchObject([{ result: "fenced" }]);
    expect(calls).toEqual([]);
    expect(await rows()).toEqual([]);
  });

  it("that comes while create runs fences what it made, which the next leader takes over under the same key", async () => {
    const { process, ledger, clock, row, calls } = setUp();
    const raise = () => ledger.resources.apply({ group: GROUP, epoch: 2, writes: [] }, CALL);
    const { run } = process({ create: raise }, { gate: { epoch: () => 1, isAllowed: () => true } });
    expect(await run(createStep("a"), createStep("b"))).toMatchObject([{ result: "fenced" }, { result: "fenced" }]);
    expect(await row()).toMatchObject({ state: "PENDING" });
    await clock.advance(30_000);
    const leader = process({}, { gate: { epoch: () => 2, isAllowed: () => true } });
    expect(await leader.run(againStep(await row()))).toMatchObject([{ result: "done" }]);
    expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size).toBe(1);
  });

  it("ends a callback that runs at the next renewal", async () => {
    const { process, ledger, clock, calls } = setUp();
    const done = deferred();
    const executed = process({ create: () => done.promise }).run(createStep());
    await clock.advance(0);
    await ledger.resources.apply({ group: GROUP, epoch: 2, writes: [] }, CALL);
    await clock.advance(10_000);
    expect(await executed).toMatchObject([{ result: "fenced" }]);
    expect(calls[0]?.context.signal.aborted).toBe(true);
  });
});

describe("a leadership that ends, also where the process leads again by then", () => {
  it("keeps what was decided under it from being begun", async () => {
    const { process, row, seed, clock, calls } = setUp();
    const seeded = await seed("PENDING", { lease: { durationMs: 1_000, token: "grant" } });
    await clock.advance(1_000);
    let epoch = 1;
    // While the lease is looked at.
    const onCall: FaultPlan["onCall"] = ({ operation }) => {
      if (operation === "resources.list") epoch = 3;
    };
    const { executor } = process({}, { plan: { onCall }, gate: { epoch: () => epoch, isAllowed: () => true } });
    const terms = { mayBegin: () => true, lasts: () => epoch === 1 };
    expect(await executor.execute([againStep(seeded)], terms)).toMatchObject([{ result: "fenced" }]);
    expect(calls).toEqual([]);
    expect((await row()).version).toBe(seeded.version);
  });

  it("does not keep what was done under it from being written down", async () => {
    const { process, row } = setUp();
    let epoch = 1;
    const create = () => {
      epoch = 3;
      return { externalId: "vm-1" };
    };
    const { executor } = process({ create }, { gate: { epoch: () => epoch, isAllowed: () => true } });
    const terms = { mayBegin: () => true, lasts: () => epoch === 1 };
    expect(await executor.execute([createStep()], terms)).toMatchObject([{ result: "done" }]);
    expect(await row()).toMatchObject({ state: "PROVISIONED", externalId: "vm-1" });
  });
});

describe("a slot that is no longer ours", () => {
  it.each([
    [1, 0, 0],
    [2, 0, 1],
    [3, 1, 1],
  ])("at the check number %i ends its step: %i calls, %i rows", async (nth, callCount, rowCount) => {
    const { process, calls, rows } = setUp();
    let checks = 0;
    const isAllowed = (): boolean => {
      checks += 1;
      return checks < nth;
    };
    const { run } = process({}, { gate: { epoch: () => 0, isAllowed } });
    expect(await run(createStep())).toMatchObject([{ result: "fenced" }]);
    expect(calls).toHaveLength(callCount);
    expect(await rows()).toHaveLength(rowCount);
  });

  it("ends a callback that runs at the next renewal, and writes nothing more", async () => {
    const { process, clock, calls, row } = setUp();
    let isOurs = true;
    const { run, log } = process({ create: never }, { gate: { epoch: () => 0, isAllowed: () => isOurs } });
    const executed = run(createStep());
    await clock.advance(5_000);
    isOurs = false;
    await clock.advance(5_000);
    expect(await executed).toMatchObject([{ result: "fenced" }]);
    expect(calls[0]?.context.signal.reason).toMatchObject({ code: "LEASE_LOST" });
    expect(await row()).toMatchObject({ state: "PENDING", version: 1 });
    expect(log.total).toBe(1);
  });

  it("does not keep the others from being acted on", async () => {
    const { process } = setUp();
    const { run } = process({}, { gate: { epoch: () => 0, isAllowed: (id) => id !== "id-1" } });
    expect((await run(...creations(3))).map(({ result }) => result)).toEqual(["done", "fenced", "done"]);
  });
});

describe("a store that loses answers", () => {
  const faults: Fault[] = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"];

  it.each(faults)("changes nothing about the outcome: %s", async (fault) => {
    for (let nth = 1; nth <= 8; nth += 1) {
      const { process, seed, rows, calls, clock } = setUp();
      const silent = await seed("PROVISIONED", {}, "silent");
      const surplus = await seed("PROVISIONED", {}, "surplus");
      const outdated = await seed("PROVISIONED", {}, "outdated");
      const { run } = process({}, { plan: { faults: [{ on: "resources.apply", nth, fault }] } });
      const executed = run(
        createStep("new"),
        failStep(silent),
        replaceStep(silent),
        terminateStep(surplus),
        updateStep(outdated, '{"size":2}', 2),
      );
      await clock.advance(20_000);
      expect(
        (await executed).map(({ result }) => result),
        `apply ${nth}`,
      ).toEqual(Array(5).fill("done"));
      expect(calls.map(({ action }) => action).sort()).toEqual(["create", "create", "terminate", "update"]);
      expect((await rows()).map(({ id, state }) => `${id} ${state}`)).toEqual([
        "new PROVISIONED",
        "outdated PROVISIONED",
        "silent FAILED",
        "silent PROVISIONED",
        "surplus TERMINATED",
      ]);
    }
  });

  it.each([12_000, 25_000])("for a renewal does not lose a resource that was made in %i ms", async (ms) => {
    const { process, clock, row } = setUp();
    const faultAt = (nth: number, fault: Fault) => ({ on: "resources.apply", nth, fault }) as const;
    // The first renewal is carried out, and neither it nor its repetitions are ever answered.
    const plan = { faults: [faultAt(2, "hangAfter"), faultAt(3, "hangAfter")] };
    const executed = process({ create: () => clock.sleep(ms) }, { plan }).run(createStep());
    await clock.advance(60_000);
    expect(await executed).toMatchObject([{ result: "done" }]);
    expect(await row()).toMatchObject({ state: "PROVISIONED" });
  });
});

describe("a store that is down", () => {
  it("before PENDING is known to be written: create is not called, and execute rejects", async () => {
    const { process, clock, calls, outcomes } = setUp();
    const { run } = process({}, { plan: { faults: [{ on: "resources.apply", fault: "lostReply" }] } });
    const executed = run(...creations(2));
    executed.catch(() => {});
    await clock.advance(10_000);
    await expect(executed).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(calls).toEqual([]);
    expect(outcomes).toMatchObject([
      { result: "failed", error: { code: "STORE_UNAVAILABLE" } },
      { result: "notBegun" },
    ]);
  });

  it("ends what it was asked to do: no other step begins", async () => {
    const { process, clock, seed, outcomes } = setUp();
    const rows = [await seed("PROVISIONED", {}, "s-0"), await seed("PROVISIONED", {}, "s-1")];
    const plan = { faults: [{ on: "resources.apply", fault: "lostRequest" }] } as const;
    const executed = process({}, { plan, concurrency: 1 }).run(...rows.map((row) => terminateStep(row)));
    executed.catch(() => {});
    await clock.advance(10_000);
    await expect(executed).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(outcomes.map(({ result }) => result)).toEqual(["failed", "notBegun"]);
  });

  it("while a callback runs: it is given up at the deadline, and execute rejects", async () => {
    const { process, clock, outcomes } = setUp();
    const plan = { decide: ({ nth }: { nth: number }) => (nth > 1 ? ("lostRequest" as const) : undefined) };
    const executed = process({ create: never }, { plan, actionTimeoutMs: 300_000 }).run(createStep());
    executed.catch(() => {});
    await clock.advance(29_999);
    expect(outcomes).toEqual([]);
    await clock.advance(6_000);
    await expect(executed).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(outcomes).toMatchObject([{ result: "failed", error: { code: "STORE_UNAVAILABLE" } }]);
  });

  it("rejects only once everything in flight has settled", async () => {
    const { process, clock, seed, outcomes } = setUp();
    const slow = await seed("PROVISIONED", {}, "slow");
    let isDown = false;
    const plan = { decide: () => (isDown ? ("lostRequest" as const) : undefined) };
    const { run } = process(
      {
        create: () => {
          isDown = true;
        },
        terminate: async () => {
          await clock.sleep(8_000);
          isDown = false;
        },
      },
      { plan },
    );
    let isOver = false;
    const executed = run(createStep(), terminateStep(slow)).finally(() => {
      isOver = true;
    });
    executed.catch(() => {});
    await clock.advance(7_999);
    expect(outcomes).toMatchObject([{ step: { id: "a" }, result: "failed" }]);
    expect(isOver).toBe(false);
    await clock.advance(1);
    await expect(executed).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(outcomes).toMatchObject([{ step: { id: "a" } }, { step: { id: "slow" }, result: "done" }]);
  });

  it("does not take a STORE_UNAVAILABLE of the user's callback for its own", async () => {
    const { process } = setUp();
    const { EvenkeelError } = await import("evenkeel");
    const error = new EvenkeelError("STORE_UNAVAILABLE", "Another store.");
    expect(await process({ create: () => Promise.reject(error) }).run(createStep())).toMatchObject([
      { result: "failed", error },
    ]);
  });
});
