import { Reconciler, type ReconcilerOptions, ResourceLedger } from "evenkeel";
import { type Fault, faultyStore, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { LedgerStore } from "../../src/store.ts";
import { type Candidate, deferred, setUpElection, stopAll } from "./set-up.ts";

/** Two processes, each with an elector and a reconciler of "web" that it gates, over one ledger. */
async function setUpPair(options: Partial<ReconcilerOptions> = {}) {
  const { clock, ledger, candidate } = setUpElection();
  const made: string[] = [];
  /** What the ledger answered to writes of the rows, with the epoch that they carried. */
  const answers: string[] = [];
  const recorded: LedgerStore = {
    ...ledger,
    resources: {
      ...ledger.resources,
      apply: async (request, call) => {
        const answer = await ledger.resources.apply(request, call);
        answers.push(`${answer.status} ${request.epoch}`);
        return answer;
      },
    },
  };

  function node(seed: number) {
    const one = candidate();
    /** What happens to the writes of this node from now on. */
    const writes: { fault?: Fault } = {};
    const store = faultyStore(recorded, {
      clock,
      decide: ({ operation }) => (operation === "resources.apply" ? writes.fault : undefined),
    });
    const reconciler = new Reconciler({
      name: "web",
      store,
      clock: one.clock,
      random: seededRandom(seed),
      leader: one.elector,
      create: async ({ id, incarnation }) => void made.push(`${one.identity} ${id}/${incarnation}`),
      terminate: async () => {},
      ...options,
    });
    return { ...one, reconciler, writes };
  }

  const first = node(1);
  const second = node(2);
  first.elector.start();
  await clock.advance(0);
  second.elector.start();
  await clock.advance(0);
  const resources = new ResourceLedger({ store: ledger, group: "web", clock });
  return { clock, ledger: resources, first, second, made, answers };
}

/** @returns when, in milliseconds from now, it leads. */
async function untilItLeads(clock: { advance(ms: number): Promise<void> }, { elector }: Candidate): Promise<number> {
  let ms = 0;
  while (!elector.isLeader() && ms < 60_000) {
    await clock.advance(100);
    ms += 100;
  }
  return ms;
}

describe("two reconcilers with an elector each", () => {
  it("act one at a time, and the other goes on when the leader is cut off from the store", async () => {
    const { clock, ledger, first, second, made } = await setUpPair();
    await ledger.setDesired(2);
    expect((await second.reconciler.reconcile()).held).toMatchObject([
      { heldBy: "notLeader" },
      { heldBy: "notLeader" },
    ]);
    expect((await first.reconciler.reconcile()).converged).toBe(true);
    expect(made).toEqual(["node-1 web-0/1", "node-1 web-1/1"]);

    first.network.cut("both");
    await ledger.setDesired(3);
    expect(await untilItLeads(clock, second)).toBeLessThanOrEqual(15_400);
    expect((await second.reconciler.reconcile()).converged).toBe(true);
    expect((await first.reconciler.reconcile()).actions).toEqual([]);
    expect(made.slice(2)).toEqual(["node-2 web-2/1"]);
    expect(await first.reconciler.status()).toMatchObject({ leader: false });
    expect(await second.reconciler.status()).toMatchObject({ leader: true, converged: true });
    await stopAll(clock, first, second);
  });

  it("record nothing of a create that outlasted the leadership", async () => {
    const gate = deferred();
    const signals: AbortSignal[] = [];
    const { clock, ledger, first, second } = await setUpPair({
      create: async (_, { signal }) => {
        signals.push(signal);
        await gate.promise;
      },
      actionTimeoutMs: 120_000,
    });
    await ledger.setDesired(1);
    const reported = first.reconciler.reconcile();
    await clock.advance(0);
    first.network.cut("both");
    await clock.advance(9_999);
    expect(signals[0]?.aborted).toBe(false);
    await clock.advance(1);
    expect(signals[0]?.aborted).toBe(true);
    await untilItLeads(clock, second);
    gate.resolve();
    expect((await reported).actions).toMatchObject([{ type: "create", id: "web-0", result: "fenced" }]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PENDING" });
    await stopAll(clock, first, second);
  });

  it("refuse a write of the first that was sent in time and arrives after the second has written", async () => {
    const { clock, ledger, first, second, answers } = await setUpPair({ actionTimeoutMs: 60_000 });
    await ledger.setDesired(1);
    first.writes.fault = { delayMs: 20_000 };
    const late: Promise<unknown> = first.reconciler.reconcile().catch((error: unknown) => error);
    await clock.advance(0);
    first.network.cut("both");
    expect(await untilItLeads(clock, second)).toBeLessThanOrEqual(15_400);
    expect(answers).toEqual([]);
    expect((await second.reconciler.reconcile()).converged).toBe(true);
    const written = await ledger.get("web-0");
    expect(written).toMatchObject({ state: "PROVISIONED" });
    await clock.advance(60_000);
    expect(await late).not.toMatchObject({ converged: true });
    const ofFirst = answers.filter((answer) => answer.endsWith(" 1"));
    expect(ofFirst.length).toBeGreaterThan(0);
    expect(new Set(ofFirst)).toEqual(new Set(["fenced 1"]));
    expect(await ledger.get("web-0")).toEqual(written);
    await stopAll(clock, first, second);
  });

  it("refuse a write of the first that arrives after the second has looked, and found nothing to do", async () => {
    const { clock, ledger, first, second, answers } = await setUpPair();
    await ledger.setDesired(1);
    expect((await first.reconciler.reconcile()).converged).toBe(true);
    await ledger.heartbeat("web-0");
    await clock.advance(30_001);
    // It takes it for dead, and is cut off before that is written down.
    first.writes.fault = { delayMs: 20_000 };
    const late: Promise<unknown> = first.reconciler.reconcile().catch((error: unknown) => error);
    await clock.advance(0);
    first.network.cut("both");
    await ledger.heartbeat("web-0");
    answers.length = 0;
    await untilItLeads(clock, second);
    expect(await second.reconciler.reconcile()).toMatchObject({ converged: true, actions: [] });
    expect(answers).toEqual([`decided ${second.elector.epoch}`]);
    await clock.advance(60_000);
    await late;
    expect(answers.length).toBeGreaterThan(1);
    expect(new Set(answers.slice(1))).toEqual(new Set(["fenced 1"]));
    expect(await ledger.get("web-0")).toMatchObject({ state: "PROVISIONED", incarnation: 1 });
    await stopAll(clock, first, second);
  });

  it("declare nobody dead for staleAfterMs after the second was elected", async () => {
    const { clock, ledger, first, second, made } = await setUpPair();
    await ledger.setDesired(1);
    first.reconciler.start();
    second.reconciler.start();
    const beat = async (times: number): Promise<void> => {
      for (let time = 0; time < times; time += 1) {
        await clock.advance(5_000);
        await ledger.heartbeat("web-0");
      }
    };
    await beat(20);
    // From here on it is silent, and its leader is cut off.
    first.network.cut("both");
    await untilItLeads(clock, second);
    await clock.advance(29_000);
    expect((await ledger.get("web-0"))?.incarnation).toBe(1);
    await clock.advance(4_000);
    expect(made).toEqual(["node-1 web-0/1", "node-2 web-0/2"]);
    await Promise.all([first.reconciler.stop(), second.reconciler.stop()]);
    await stopAll(clock, first, second);
  });

  it("hand over at once where a reconciler is stopped and then its elector, with nothing left half done", async () => {
    const { clock, ledger, first, second, made } = await setUpPair({
      create: async ({ id }) => {
        await clock.sleep(1_000);
        made.push(id);
      },
    });
    await ledger.setDesired(1);
    first.reconciler.start();
    second.reconciler.start();
    await clock.advance(500);
    const stopped = first.reconciler.stop().then(() => first.elector.stop());
    await clock.advance(600);
    await stopped;
    expect(made).toEqual(["web-0"]);
    expect(await ledger.get("web-0")).toMatchObject({ state: "PROVISIONED" });
    await ledger.setDesired(2);
    // A period until it asks, a second until its loop looks, a second to create.
    await clock.advance(4_400);
    expect(made).toEqual(["web-0", "web-1"]);
    await second.reconciler.stop();
    await stopAll(clock, first, second);
  });
});
