import {
  type ActionContext,
  type EvenkeelEvent,
  type LeaderGate,
  Reconciler,
  type ReconcilerOptions,
  type ResourceRecord,
  WorkQueue,
} from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, it } from "vitest";
import { LeaderElector } from "../../src/coordination/leader-elector.ts";
import { actionsOf, eventsOf, settle } from "./reconciler-kit.ts";
import { fakeFleet, setUpReconciler } from "./set-up.ts";

const LEADER: LeaderGate = { isLeader: () => true, epoch: undefined, signal: new AbortController().signal };

/** Options whose callbacks all need their `this`. */
class Fleet implements ReconcilerOptions<number> {
  readonly name = "web";
  readonly store = memoryStore();
  #wanted = 0;
  #spec = 0;
  readonly #made = new Set<string>();
  readonly #calls: string[] = [];
  get calls(): readonly string[] {
    return this.#calls;
  }
  change({ wanted, spec }: { readonly wanted: number; readonly spec: number }): void {
    this.#wanted = wanted;
    this.#spec = spec;
  }
  desired() {
    return Array.from({ length: this.#wanted }, (_, at) => ({ id: `web-${at}`, spec: this.#spec }));
  }
  observe() {
    this.#calls.push("observe");
    return [...this.#made].map((id) => ({ id }));
  }
  async create({ id }: ResourceRecord<number>) {
    this.#calls.push(`create ${id}`);
    this.#made.add(id);
  }
  async terminate({ id }: ResourceRecord<number>) {
    this.#calls.push(`terminate ${id}`);
    this.#made.delete(id);
  }
  async forceTerminate({ id }: ResourceRecord<number>) {
    this.#calls.push(`force ${id}`);
  }
  async update({ id }: ResourceRecord<number>) {
    this.#calls.push(`update ${id}`);
  }
  surplus() {
    this.#calls.push("surplus");
    return 0;
  }
  onEvent({ type }: EvenkeelEvent) {
    this.#calls.push(type);
  }
}

describe("options that are an instance of a class", () => {
  it("keep their this in every callback", async () => {
    const fleet = new Fleet();
    const reconciler = new Reconciler<number>(fleet);
    fleet.change({ wanted: 3, spec: 1 });
    await reconciler.reconcile();
    fleet.change({ wanted: 3, spec: 2 });
    await reconciler.reconcile();
    fleet.change({ wanted: 1, spec: 2 });
    const report = await reconciler.reconcile();
    expect(report.actions.map(({ result }) => result)).not.toContain("failed");
    for (const call of ["observe", "create web-0", "update web-0", "terminate web-2", "surplus", "pass_finished"])
      expect(fleet.calls).toContain(call);
  });

  it("may be changed afterwards: what was given counts", async () => {
    const fleet = fakeFleet();
    const { store, clock } = setUpReconciler();
    const options = { name: "web", store, clock, ...fleet.callbacks };
    const reconciler = new Reconciler(options);
    options.create = async () => {
      throw new Error("changed");
    };
    await reconciler.setDesired(1);
    await reconciler.reconcile();
    expect(fleet.ids()).toEqual(["web-0"]);
  });
});

describe("the leader", () => {
  const incomplete: readonly [string, unknown][] = [
    ["isLeader() alone", { isLeader: () => true }],
    ["no epoch", { isLeader: () => true, signal: new AbortController().signal }],
    ["no signal", { isLeader: () => true, epoch: 1 }],
    ["a signal that is none", { isLeader: () => true, epoch: 1, signal: {} }],
  ];
  it.each(incomplete)("with %s is refused", (_, leader) => {
    expect(() => setUpReconciler({ leader: leader as LeaderGate })).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: expect.stringContaining("leader must be") }),
    );
  });

  it("may have no epoch yet, or be an elector", () => {
    expect(() => setUpReconciler({ leader: LEADER })).not.toThrow();
    const leader = new LeaderElector({ store: memoryStore(), name: "web" });
    expect(() => setUpReconciler({ leader })).not.toThrow();
  });
});

describe("terminateGraceMs: 0", () => {
  it("calls forceTerminate in place of terminate, once TERMINATING is written", async () => {
    const fleet = fakeFleet();
    const states: unknown[] = [];
    const { reconciler, ledger } = setUpReconciler({
      ...fleet.callbacks,
      terminateGraceMs: 0,
      forceTerminate: async (resource, ctx) => {
        states.push((await ledger.get(resource.id))?.state);
        fleet.calls.push(`force ${resource.id}`);
        return fleet.callbacks.terminate(resource, ctx);
      },
    });
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    await reconciler.setDesired(1);
    fleet.calls.length = 0;
    const report = await reconciler.reconcile();
    expect(actionsOf(report)).toEqual(["forceTerminate web-1/1"]);
    expect(fleet.calls).toEqual(["force web-1", "terminate web-1/1"]);
    expect(states).toEqual(["TERMINATING"]);
    expect(await ledger.get("web-1")).toMatchObject({ state: "TERMINATED", reason: "Surplus" });
  });

  it("calls terminate where there is nothing harder, and again only with patience", async () => {
    const asked: number[] = [];
    const { reconciler, clock } = setUpReconciler({
      terminateGraceMs: 0,
      terminate: async () => {
        asked.push(clock.now());
        throw new Error("busy");
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    await reconciler.setDesired(0);
    await clock.advance(60_000);
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.length).toBeLessThan(40);
    await reconciler.stop();
  });

  it("what forceTerminate fails at is tried again with patience", async () => {
    let forced = 0;
    const { reconciler, clock, fleet } = setUpReconciler({
      terminateGraceMs: 0,
      forceTerminate: async () => {
        forced += 1;
        throw new Error("busy");
      },
    });
    await reconciler.setDesired(1);
    reconciler.start();
    await settle(clock);
    await reconciler.setDesired(0);
    await clock.advance(60_000);
    expect(forced).toBeGreaterThan(3);
    expect(forced).toBeLessThan(40);
    expect(fleet.calls).toEqual(["create web-0/1"]);
    await reconciler.stop();
  });

  it("ends strays by force, too", async () => {
    const forced: string[] = [];
    const { reconciler } = setUpReconciler({
      terminateGraceMs: 0,
      observe: () => (forced.length === 0 ? [{ id: "stray", externalId: "x" }] : []),
      forceTerminate: async ({ id }) => {
        forced.push(id);
      },
    });
    await reconciler.setDesired(0);
    await reconciler.reconcile();
    expect(forced).toEqual(["stray"]);
  });
});

describe("observeGraceMs: 0", () => {
  it("makes anew what the next observation lacks", async () => {
    const { reconciler, clock } = setUpReconciler({ observeGraceMs: 0, observe: () => [] });
    await reconciler.setDesired(1);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["create web-0/1"]);
    await clock.advance(1);
    expect(actionsOf(await reconciler.reconcile())).toEqual(["create web-0/2"]);
  });
});

describe("what failed says why", () => {
  it.each([[undefined], [null]])("also where the callback threw %s", async (nothing) => {
    const { reconciler, events } = setUpReconciler({
      create: async () => {
        throw nothing;
      },
    });
    await reconciler.setDesired(1);
    const [action] = (await reconciler.reconcile()).actions;
    expect(action).toMatchObject({ result: "failed", error: { message: `The callback threw ${nothing}.` } });
    expect(eventsOf(events, "action_finished")).toMatchObject([{ error: expect.any(Error) }]);
  });

  it("an action's timeout is ours, for the callback's signal and in the report", async () => {
    let reason: unknown;
    const { reconciler, clock } = setUpReconciler({
      actionTimeoutMs: 6_000,
      create: (_, { signal }: ActionContext) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => {
            reason = signal.reason;
            reject(signal.reason);
          }),
        ),
    });
    await reconciler.setDesired(1);
    const reported = reconciler.reconcile();
    await settle(clock);
    await clock.advance(6_000);
    for (let s = 0; s < 10; s += 1) await clock.advance(1_000);
    expect((await reported).actions).toMatchObject([{ result: "failed", error: { code: "WAIT_TIMEOUT" } }]);
    expect(reason).toMatchObject({ code: "WAIT_TIMEOUT" });
  });
});

describe("explain()", () => {
  it.each([[""], [7], [undefined], ["a\u0000"]])("refuses %j", async (id) => {
    const { reconciler } = setUpReconciler();
    await expect(reconciler.explain(id as never)).rejects.toMatchObject({
      code: "INVALID_OPTIONS",
      message: expect.stringContaining("Reconciler.explain"),
    });
  });
});

describe("a work queue", () => {
  it("blames itself for bounds that don't fit", () => {
    expect(() => new WorkQueue({ baseDelayMs: 2, maxDelayMs: 1 })).toThrow("WorkQueue: baseDelayMs must not be over");
  });
});
