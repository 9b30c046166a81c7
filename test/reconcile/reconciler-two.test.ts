import { Reconciler, type ReconcilerOptions } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { fakeFleet } from "./set-up.ts";

/** Two reconcilers of one group whose store calls interleave as the seed says. */
function setUpTwo(seed: number, options: Partial<ReconcilerOptions> = {}) {
  const clock = new ManualClock();
  const inner = memoryStore({ clock });
  const fleet = fakeFleet();
  const random = seededRandom(seed);
  const pause = async (): Promise<void> => clock.sleep(1 + Math.floor(random.float() * 20));
  const make = (which: number): Reconciler =>
    new Reconciler({
      name: "web",
      clock,
      random: seededRandom(seed * 2 + which),
      store: faultyStore(inner, {
        clock,
        random: seededRandom(seed * 4 + which),
        rates: { delay: 0.8 },
        maxDelayMs: 50,
      }),
      ...fleet.callbacks,
      create: async (resource, ctx) => {
        await pause();
        const made = await fleet.callbacks.create(resource, ctx);
        await pause();
        return made;
      },
      terminate: async (resource, ctx) => {
        await pause();
        await fleet.callbacks.terminate(resource, ctx);
        await pause();
      },
      ...options,
    });
  return { clock, fleet, random, reconcilers: [make(0), make(1)] as const };
}

/** Runs until both have made so many passes each. */
async function runBoth({ clock, random, reconcilers }: ReturnType<typeof setUpTwo>, passes: number): Promise<void> {
  const running = reconcilers.map(async (reconciler) => {
    for (let pass = 0; pass < passes; pass += 1) {
      await reconciler.reconcile();
      await clock.sleep(Math.floor(random.float() * 100));
    }
  });
  let isOver = false;
  void Promise.allSettled(running).then(() => {
    isOver = true;
  });
  while (!isOver) await clock.advance(10);
  await Promise.all(running);
}

describe("two reconcilers on one store, without an election", () => {
  it.each(Array.from({ length: 25 }, (_, index) => index + 1))(
    "create each incarnation once and converge, in the order of seed %d",
    async (seed) => {
      const test = setUpTwo(seed);
      const { clock, fleet, reconcilers } = test;
      const [a, b] = reconcilers;
      const set = async (desired: number): Promise<void> => {
        const done = a.setDesired(desired);
        await clock.advance(1_000);
        await done;
      };
      await set(6);
      await runBoth(test, 4);
      expect(fleet.calls.sort()).toEqual([0, 1, 2, 3, 4, 5].map((n) => `create web-${n}/1`));
      await set(3);
      await runBoth(test, 4);
      expect(fleet.ids()).toEqual(["web-0", "web-1", "web-2"]);
      expect(fleet.calls.filter((call) => call.startsWith("terminate")).sort()).toEqual([
        "terminate web-3/1",
        "terminate web-4/1",
        "terminate web-5/1",
      ]);
      await set(6);
      await runBoth(test, 4);
      expect(fleet.created).toHaveLength(9);
      expect(fleet.ids()).toHaveLength(6);
      for (const reconciler of [a, b]) {
        const reported = reconciler.reconcile();
        await clock.advance(1_000);
        expect(await reported).toMatchObject({ actions: [], converged: true });
      }
      expect(clock.pendingTimers).toBe(0);
    },
  );

  it("replace what fell silent once", async () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const test = setUpTwo(seed);
      const { clock, fleet, reconcilers } = test;
      const done = reconcilers[0].setDesired(3);
      await clock.advance(1_000);
      await done;
      await runBoth(test, 3);
      fleet.calls.length = 0;
      await clock.advance(60_000);
      await runBoth(test, 5);
      expect(fleet.calls.filter((call) => call.startsWith("create")).sort()).toEqual(
        [0, 1, 2].map((n) => `create web-${n}/2`),
      );
      expect(fleet.running.size).toBe(3);
    }
  });

  it("rest both: no write, however often they look", async () => {
    const test = setUpTwo(1);
    const { clock, fleet, reconcilers } = test;
    const done = reconcilers[0].setDesired(3);
    await clock.advance(1_000);
    await done;
    await runBoth(test, 4);
    const calls = fleet.calls.length;
    const counted: string[] = [];
    const store = faultyStore(memoryStore({ clock }), { onCall: ({ operation }) => counted.push(operation) });
    const pair = [1, 2].map(
      (seed) => new Reconciler({ name: "web", store, clock, random: seededRandom(seed), ...fleet.callbacks }),
    );
    await pair[0]?.setDesired(3);
    for (let pass = 0; pass < 4; pass += 1) for (const reconciler of pair) await reconciler.reconcile();
    counted.length = 0;
    for (let pass = 0; pass < 20; pass += 1) for (const reconciler of pair) await reconciler.reconcile();
    expect(counted.filter((operation) => operation === "resources.apply")).toEqual([]);
    expect(fleet.calls.length).toBe(calls + 3);
  });
});
