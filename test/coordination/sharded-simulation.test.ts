import { NotFound, type ReconcilerOptions } from "evenkeel";
import { type Fault, seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { type ShardedNode, setUpSharded } from "./sharded-set-up.ts";

const SEEDS = 45;
const SLOTS = 60;
const SHARDS = 6;
const STEPS = 9;
const ACTION_TIMEOUT_MS = 4_000;
const TIMES = { leaseDurationMs: 4_500, renewDeadlineMs: 3_000, retryPeriodMs: 1_000 };
/** Longer than the lease of whoever is suspended lasts. */
const LATE_MS = TIMES.leaseDurationMs + TIMES.retryPeriodMs;

interface Process extends ShardedNode {
  state: "live" | "left" | "dead";
}

/** An API that honours idempotency keys, and refuses a fencing token below one that it has seen for the slot. */
function fencedFleet() {
  const running = new Map<string, string>();
  const made = new Map<string, string>();
  const tokens = new Map<string, number>();
  const keys = new Map<string, Set<string>>();
  const admit = (id: string, token: number): void => {
    if (token < (tokens.get(id) ?? 0)) throw new Error("A later token was there.");
    tokens.set(id, token);
  };
  return {
    running,
    keys,
    liveOf: (id: string) => [...running.values()].filter((each) => each === id).length,
    create(id: string, incarnation: number, key: string, token: number): string {
      const slot = `${id}/${incarnation}`;
      keys.set(slot, (keys.get(slot) ?? new Set()).add(key));
      admit(id, token);
      const known = made.get(key);
      if (known !== undefined) return known;
      const externalId = `x${made.size + 1}`;
      made.set(key, externalId);
      running.set(externalId, id);
      return externalId;
    },
    terminate(id: string, incarnation: number, token: number): void {
      admit(id, token);
      // Also what a create made whose answer was lost.
      const [key = ""] = keys.get(`${id}/${incarnation}`) ?? [];
      const meant = made.get(key);
      if (meant === undefined || !running.delete(meant)) throw new NotFound();
    },
  };
}

/** What one seed does to a division and its group. @returns what was violated, and how much was done. */
async function run(seed: number) {
  const random = seededRandom(seed);
  const upTo = (count: number): number => Math.floor(random.float() * count);
  const chance = (probability: number): boolean => random.float() < probability;
  const { clock, resources, node, stopAll, arrivals, row } = setUpSharded({ shards: SHARDS });
  const fleet = fencedFleet();
  const processes: Process[] = [];
  const faults: string[] = [];
  const trace: string[] = [];
  const tally = { created: 0, terminated: 0, fenced: 0, moved: 0 };
  /** The highest epoch of each shard under which a callback began. */
  const newest = new Map<number, number>();
  const releases: (() => void)[] = [];
  let isCalm = false;
  const note = (what: string): void => void trace.push(`${clock.monotonic()} ${what}`);
  const fault = (what: string): void => void faults.push(`${clock.monotonic()} ${what}`);

  function drawFault(): Fault | undefined {
    if (isCalm || !chance(0.06)) return undefined;
    const simple = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"] as const;
    return simple[upTo(8)] ?? { delayMs: 1 + upTo(2_500), of: chance(0.5) ? "request" : "reply" };
  }

  /** The slot is this member's and nobody else's, and nobody has acted on it under a later epoch. */
  function check(self: Process, what: string, id: string): void {
    const shard = self.coordinator.shardOf(id);
    const epoch = self.coordinator.epochOf(id);
    note(`${self.id} ${what} ${id} under ${epoch}`);
    if (epoch === undefined) return fault(`${self.id} ${what} ${id}, which it does not hold`);
    if (epoch < (newest.get(shard) ?? 0)) fault(`${self.id} ${what} ${id} under ${epoch} after ${newest.get(shard)}`);
    newest.set(shard, epoch);
    const others = processes.filter((other) => other !== self && other.coordinator.epochOf(id) !== undefined);
    for (const other of others) fault(`${self.id} ${what} ${id}, which ${other.id} holds`);
  }

  function join(id: string): void {
    const create: ReconcilerOptions["create"] = async (resource, ctx) => {
      check(self, "create", resource.id);
      const effect = () => fleet.create(resource.id, resource.incarnation, ctx.idempotencyKey, ctx.fencingToken);
      if (!isCalm && chance(0.1)) throw new Error("not now");
      if (isCalm || chance(0.5)) return { externalId: effect() };
      const isEarly = chance(0.5);
      const early = isEarly ? effect() : undefined;
      await self.clock.sleep(1 + upTo(3_000));
      const externalId = early ?? effect();
      tally.created += 1;
      if (fleet.liveOf(resource.id) > 1) fault(`${resource.id} is there twice`);
      return { externalId };
    };
    const terminate: ReconcilerOptions["terminate"] = async (resource, ctx) => {
      check(self, "terminate", resource.id);
      if (!isCalm && chance(0.3)) await self.clock.sleep(1 + upTo(3_000));
      fleet.terminate(resource.id, resource.incarnation, ctx.fencingToken);
      tally.terminated += 1;
    };
    const reconciler = {
      create,
      terminate,
      actionTimeoutMs: ACTION_TIMEOUT_MS,
      allowEmpty: true,
      resyncIntervalMs: 5_000,
    };
    const self: Process = Object.assign(node(id, { coordinator: TIMES, reconciler, faults: { decide: drawFault } }), {
      state: "live" as const,
    });
    processes.push(self);
    self.coordinator.start();
    self.reconciler.start();
    note(`${id} joins`);
  }

  const desire = async (count: number): Promise<void> => {
    note(`${count} desired`);
    await resources.setDesired(count);
    for (const { reconciler, state } of processes) if (state === "live") reconciler.wake();
  };
  const live = () => processes.filter(({ state }) => state === "live");

  function trouble(): void {
    const all = live();
    const one = all[upTo(all.length)];
    const draw = random.float();
    if (one === undefined || (draw < 0.25 && all.length < 4)) return join(`m${processes.length + 1}`);
    if (draw < 0.4) {
      note(`${one.id} leaves`);
      one.state = "left";
      const isCoordinatorFirst = chance(0.3);
      const stop = isCoordinatorFirst
        ? one.coordinator.stop().then(() => one.reconciler.stop({ graceMs: 500 }))
        : one.reconciler.stop({ graceMs: 500 }).then(() => one.coordinator.stop());
      void stop;
    } else if (draw < 0.55) {
      note(`${one.id} crashes`);
      one.state = "dead";
      one.network.cut("both");
      one.clock.freeze();
      // Often it begins anew, under its name.
      if (chance(0.5)) join(one.id);
    } else if (draw < 0.62) {
      note(`${one.id} is suspended`);
      one.clock.freeze();
    } else if (draw < 0.7) {
      // Between its decision and the write, which arrives when others may have the shard.
      const late = one.holdBack(({ writes }) => writes.length > 0);
      releases.push(late.release);
      const lateMs = LATE_MS + upTo(LATE_MS);
      void late.held.then(() => {
        if (isCalm) return;
        note(`${one.id} is suspended over a write`);
        one.clock.freeze();
        clock.setTimer(lateMs, late.release);
      });
    } else if (draw < 0.8) {
      note(`${one.id} is cut off`);
      one.network.cut((["requests", "replies", "both"] as const)[upTo(3)] ?? "both");
    } else for (const each of all) recover(each);
  }

  function recover({ network, clock: own, state }: Process): void {
    if (state === "dead") return;
    network.heal();
    own.thaw();
  }

  for (const id of ["m1", "m2", "m3"]) join(id);
  await desire(SLOTS);
  for (let step = 0; step < STEPS; step += 1) {
    await clock.advance(200 + upTo(2_500));
    if (chance(0.4)) await desire(upTo(SLOTS + 1));
    else trouble();
  }

  isCalm = true;
  for (const release of releases) release();
  for (const each of processes) recover(each);
  if (live().length === 0) join("last");
  const wanted = upTo(SLOTS + 1);
  await desire(wanted);
  /** Asks while a second goes by: whoever waits for a hung call has to come to its end. */
  const isDone = async (): Promise<boolean> => {
    let isConverged = false;
    void Promise.all(live().map(({ reconciler }) => reconciler.status())).then(
      (standings) => {
        isConverged = standings.every(({ converged }) => converged);
      },
      () => {},
    );
    await clock.advance(1_000);
    // Each speaks for its own slots alone.
    const rows = await Promise.all(Array.from({ length: SLOTS }, (_, n) => row(`web-${n}`)));
    const isSettled = rows.every((found, n) => (found?.state === "PROVISIONED") === n < wanted);
    return isConverged && isSettled && fleet.running.size === wanted;
  };
  let leftMs = 40_000;
  while (leftMs > 0 && !(await isDone())) leftMs -= 1_000;
  if (leftMs <= 0) fault("it never came to rest");
  const ids = [...fleet.running.values()].sort();
  if (JSON.stringify(ids) !== JSON.stringify(Array.from({ length: wanted }, (_, n) => `web-${n}`).sort()))
    fault(`there are ${ids.join()} and not ${wanted}`);
  for (const [externalId, id] of fleet.running)
    if ((await row(id))?.externalId !== externalId) fault(`the ledger has another ${id}`);
  for (const [slot, own] of fleet.keys) if (own.size !== 1) fault(`${slot} was made with ${own.size} keys`);
  for (const { request, result } of arrivals) {
    const refused =
      result.status === "fenced"
        ? request.writes.length
        : result.results.filter(({ status }) => status === "fenced").length;
    tally.fenced += refused;
  }
  for (const { events } of processes)
    tally.moved += events.filter((event) => event.type === "shard_revoked" && event.reason === "moved").length;
  await stopAll();
  return { faults, trace, tally };
}

describe("members that come, go and die over a group whose size changes", () => {
  it(`have one resource a slot, made with one key, by nobody but the holder, whatever happens: ${SEEDS} seeds`, async () => {
    const sum = { created: 0, terminated: 0, fenced: 0, moved: 0 };
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { faults, trace, tally } = await run(seed);
      if (faults.length > 0) throw new Error(`Seed ${seed}: ${faults.join("; ")}\n${trace.slice(-400).join("\n")}`);
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += tally[name];
    }
    // What it is about has happened.
    expect(Math.min(sum.created, sum.terminated)).toBeGreaterThan(100);
    expect(Math.min(sum.fenced, sum.moved)).toBeGreaterThan(0);
  }, 200_000);

  it("go the same way with the same seed", async () => {
    expect((await run(4)).trace).toEqual((await run(4)).trace);
  }, 60_000);
});
