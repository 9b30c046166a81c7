import { memoryStore } from "../../adapters/stores/memory.ts";
import { type DesiredResource, fixedThreshold, type LedgerStore, Reconciler, ResourceLedger } from "../../src/index.ts";
import { type Fault, faultyStore, ManualClock, Partition, seededRandom } from "../../src/testing/index.ts";
import { Cloud } from "./reconciler-cloud.ts";
import { between, Life, storeOf } from "./reconciler-life.ts";
import { witnessed } from "./reconciler-witness.ts";

const GROUP = "web";
const LEASE_MS = 2_000;
const BEAT_MS = 2_500;
const STALE_MS = 10_000;
const RESYNC_MS = 5_000;
const STORE_TIMEOUT_MS = 1_000;
const FAULTS_MS = 60_000;
/** A slot whose resources kept falling silent waits for up to 5 minutes, and 20 % longer. */
const BOUND_MS = 600_000;
const LOOK_EVERY_MS = 5_000;

/** What a run may be made to do wrong, so that it shows whether that is seen. */
export interface Mutation {
  /** Between the engine and whoever watches it. */
  readonly store?: (store: LedgerStore) => LedgerStore;
  /** In the callbacks of each process. */
  readonly callbacks?: (callbacks: ReturnType<Cloud["callbacks"]>) => ReturnType<Cloud["callbacks"]>;
}

export interface RunReport {
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  /** How often a process died. */
  readonly deaths: number;
  /** How many timers are left. */
  readonly timers: number;
}

/** Two or three processes that reconcile one group, over a bad network, with an API that takes its time; all of it chosen by the seed. */
export async function simulateReconcilers(seed: number, mutation: Mutation = {}): Promise<RunReport> {
  const clock = new ManualClock();
  const random = seededRandom(seed);
  const chance = (share: number): boolean => random.float() < share;
  const memory = memoryStore({ clock });
  const witness = witnessed(mutation.store?.(memory) ?? memory, GROUP);

  const isLate = chance(0.3);
  const isFenced = chance(0.5);
  const canUpdate = chance(0.5);
  const most = chance(0.1) ? 14 : 7;
  const rate = random.float() * 0.06;
  let isFaulty = true;
  let deaths = 0;

  /** Each kind of fault is as likely as the others. */
  const decide = (): Fault | undefined => {
    if (!isFaulty || !chance(rate * 6)) return undefined;
    const kinds = ["lostRequest", "lostReply", "hangBefore", "hangAfter", "duplicate"] as const;
    const of = chance(0.5) ? "request" : "reply";
    return kinds[between(random, 0, kinds.length)] ?? { delayMs: between(random, 1, LEASE_MS * 2), of };
  };
  const connect = (name: string, partition: Partition): LedgerStore =>
    faultyStore(witness.of(name), { clock, decide, partition });

  const user = new ResourceLedger<number>({ store: witness.of("user"), group: GROUP, clock, random });
  const beats = new Partition();
  const cloud = new Cloud({
    clock,
    random,
    witness,
    ledger: new ResourceLedger<number>({
      store: connect("things", beats),
      group: GROUP,
      clock,
      random,
      storeTimeoutMs: STORE_TIMEOUT_MS,
    }),
    leaseMs: LEASE_MS,
    beatMs: BEAT_MS,
    isFenced,
    isLate,
  });

  const processes = Array.from({ length: between(random, 2, 3) }, (_, index) => {
    const partition = new Partition();
    const name = `r${index}`;
    const store = connect(name, partition);
    const boot = () => {
      const aheadMs = between(random, -20_000, 20_000);
      const diesAt = isFaulty && chance(0.7) ? between(random, 1, 150) : Number.POSITIVE_INFINITY;
      const life = new Life({
        clock,
        aheadMs,
        diesAt,
        onDeath: () => {
          deaths += 1;
          witness.trace.push(`${clock.now()} ${name} died`);
        },
      });
      const callbacks = cloud.callbacks(life);
      const reconciler = new Reconciler<number>({
        name: GROUP,
        store: storeOf(life, store),
        clock: life.clock,
        random,
        ...(mutation.callbacks?.(callbacks) ?? callbacks),
        ...(canUpdate ? { update: cloud.update(life) } : {}),
        ...(isLate ? { observe: cloud.observe(life) } : {}),
        replacement: isFenced ? "fenceFirst" : "replaceFirst",
        staleness: fixedThreshold({ staleAfterMs: STALE_MS, startupGraceMs: STALE_MS }),
        resyncIntervalMs: RESYNC_MS,
        actionTimeoutMs: LEASE_MS,
        terminateGraceMs: LEASE_MS,
        observeGraceMs: LEASE_MS,
        storeTimeoutMs: STORE_TIMEOUT_MS,
      });
      reconciler.start();
      return { life, reconciler };
    };
    return { partition, boot, current: boot() };
  });

  // ------------------------------------------------------------------------------------------- what goes wrong

  const trouble = async (process: (typeof processes)[number]): Promise<void> => {
    while (isFaulty) {
      await clock.sleep(between(random, 100, 5_000));
      const { life } = process.current;
      const draw = random.float();
      if (life.isDead) process.current = process.boot();
      else if (draw < 0.1) {
        life.freeze();
        await clock.sleep(between(random, 1, LEASE_MS * 3));
        life.thaw();
      } else if (draw < 0.2) {
        process.partition.cut(chance(0.5) ? "both" : chance(0.5) ? "requests" : "replies");
        await clock.sleep(between(random, 1, LEASE_MS * 3));
        process.partition.heal();
      }
    }
  };
  const wishes = async (): Promise<void> => {
    while (isFaulty) {
      await user.setDesired(wish());
      await clock.sleep(between(random, 0, FAULTS_MS / 3));
    }
  };
  let wished: DesiredResource<number>[] = [];
  function wish(): DesiredResource<number>[] {
    const spec = between(random, 1, 2);
    wished = Array.from({ length: between(random, 0, most) }, (_, n) => ({ id: `web-${n}`, spec }));
    return wished;
  }
  const silence = async (): Promise<void> => {
    if (!chance(0.2)) return;
    await clock.sleep(between(random, 0, FAULTS_MS / 2));
    beats.cut("both");
    await clock.sleep(between(random, 0, STALE_MS * 2));
    beats.heal();
  };
  const troubles = Promise.all([...processes.map(trouble), wishes(), silence()]);
  await clock.advance(FAULTS_MS);
  isFaulty = false;
  cloud.heal();
  for (const { current } of processes) current.life.spare();
  // What was under way is over then.
  await clock.advance(Math.max(FAULTS_MS / 3, 20_000));
  await troubles;
  for (const process of processes) {
    if (process.current.life.isDead) process.current = process.boot();
    else process.current.reconciler.wake();
  }

  // --------------------------------------------------------------------------------------------- I22: it comes right

  async function whatIsWrong(): Promise<string | undefined> {
    const rows = await witness.rows();
    const newest = new Map(rows.map((row) => [row.id, row]));
    const old = rows.find((row) => row.state !== "TERMINATED" && newest.get(row.id) !== row);
    if (old !== undefined) return `${old.id}/${old.incarnation} is ${old.state}`;
    const surplus = rows.find(({ id, state }) => state !== "TERMINATED" && !wished.some((each) => each.id === id));
    if (surplus !== undefined) return `${surplus.id} is surplus and ${surplus.state}`;
    for (const { id, spec } of wished) {
      const row = newest.get(id);
      if (row?.state !== "PROVISIONED") return `${id} is ${row?.state}`;
      const thing = cloud.things.get(`${id}/${row.incarnation}`);
      if (thing === undefined) return `${id} is not there`;
      if (thing.spec !== spec || row.spec !== String(spec)) return `${id} has the spec ${thing.spec}, ${row.spec}`;
      if (thing.externalId !== row.externalId) return `${id} is known as ${row.externalId}`;
      if (thing.silentAt < clock.now()) return `${id} is silent`;
    }
    return cloud.things.size === wished.length ? undefined : `there are ${cloud.things.size} things`;
  }
  let wrong = await whatIsWrong();
  for (let waitedMs = 0; wrong !== undefined && waitedMs < BOUND_MS; waitedMs += LOOK_EVERY_MS) {
    await clock.advance(LOOK_EVERY_MS);
    wrong = await whatIsWrong();
  }
  if (wrong !== undefined) witness.violation(`I22: in the end ${wrong}`);
  else {
    await clock.advance(RESYNC_MS * 3);
    const [calls, changes] = [cloud.calls, witness.changes];
    await clock.advance(RESYNC_MS * 10);
    if (cloud.calls !== calls) witness.violation("I22: somebody is called at rest");
    if (witness.changes !== changes) witness.violation("I22: rows are written at rest");
    for (const { current } of processes) {
      const status = current.reconciler.status();
      await clock.advance(0);
      const { converged, conditions } = await status;
      if (!converged) witness.violation(`I22: it is not known to be converged: ${JSON.stringify(conditions)}`);
    }
  }

  cloud.close();
  const stopped = Promise.all(processes.map(({ current }) => current.reconciler.stop()));
  await clock.advance(BEAT_MS + 2 * STORE_TIMEOUT_MS + 40_000);
  await stopped;
  return { violations: witness.violations, trace: witness.trace, deaths, timers: clock.pendingTimers };
}
