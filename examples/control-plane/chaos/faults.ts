import { setTimeout as sleep } from "node:timers/promises";
import { signalIfThere } from "../processes.ts";
import { type Copy, startAgain } from "./copy.ts";
import { type Dice, diceOf } from "./dice.ts";
import type { Strike, TakeoverFacts, WorkerProcess } from "./facts.ts";
import type { Cut } from "./ledger-proxy.ts";
import { until } from "./patience.ts";
import { workerProcesses } from "./worker-processes.ts";

/** What was done, by kind. */
export interface FaultCounts {
  killedWorkers: number;
  frozenWorkers: number;
  killedLeaders: number;
  killedCopies: number;
  frozenLeaders: number;
  swallowedCuts: number;
  heldCuts: number;
  resetCuts: number;
}

/** Before any. */
export const NO_FAULTS: Readonly<FaultCounts> = {
  ...{ killedWorkers: 0, frozenWorkers: 0, killedLeaders: 0, killedCopies: 0 },
  ...{ frozenLeaders: 0, swallowedCuts: 0, heldCuts: 0, resetCuts: 0 },
};

export interface FaultOptions {
  readonly copies: readonly Copy[];
  readonly seed: number;
  /** What is counted on. */
  readonly counts: FaultCounts;
  /** Who leads, by the lease. */
  readonly leader: () => Promise<string | undefined>;
  /** Whether a resource is being made. */
  readonly isCreating: () => Promise<boolean>;
  /** The folder of the workers. */
  readonly folder: string;
  /** How long a worker may be silent, in milliseconds. */
  readonly staleMs: number;
  /** How long the lease of who leads lasts, in milliseconds. */
  readonly leaseMs: number;
  readonly onStrike: (strike: Strike) => void;
  readonly onTakeover: (takeover: TakeoverFacts) => void;
  readonly say: (what: string) => void;
  /** Aborts when no new fault is to be begun. */
  readonly signal: AbortSignal;
}

/** Each of both has its own, so that neither depends on how far the other one is. */
type WithDice = FaultOptions & { readonly dice: Dice };

/** How long after the lease another copy leads at the latest, on a machine that is very busy. */
const LATE_MS = 12_000;

/** How long to wait for a creation that a fault could hit. */
const STRIKE_WITHIN_MS = 1_500;

/** How often a resource is struck within the time after which the control plane has forgotten it. The last time it waits for 24 s. */
const MOST_STRIKES = 3;
const STABLE_MS = 600_000;

/** Faults of the workers and of the copies, side by side, of the copies one at a time, until the signal; then it mends what they did. */
export async function injectFaults(options: FaultOptions): Promise<void> {
  await Promise.all([
    faultsOfWorkers({ ...options, dice: diceOf(options.seed + 1) }),
    faultsOfCopies({ ...options, dice: diceOf(options.seed + 2) }),
  ]);
}

async function faultsOfWorkers({ dice: all, folder, staleMs, counts, onStrike, say, signal }: WithDice): Promise<void> {
  const thaws: Promise<unknown>[] = [];
  const spared = sparing();
  const strike = ({ pid, ...worker }: WorkerProcess, how: "SIGKILL" | "SIGSTOP"): void => {
    // Before it: nothing may be seen of it sooner.
    onStrike(worker);
    signalIfThere(pid, how);
    spared.count(`${worker.group}/${worker.id}`);
  };
  for (let turn = 0; !signal.aborted; turn += 1) {
    const dice = all.fork();
    const workers = dice.shuffle(workerProcesses(folder)).filter(({ group, id }) => spared.admits(`${group}/${id}`));
    if (turn % 3 === 1) {
      const [frozen] = workers;
      if (frozen !== undefined) {
        say(`freezes ${frozen.id}#${frozen.incarnation}`);
        strike(frozen, "SIGSTOP");
        counts.frozenWorkers += 1;
        // Until after it was replaced.
        thaws.push(
          sleep(dice.between(1.3, 2) * staleMs, undefined, { signal })
            .catch(() => {})
            .then(() => signalIfThere(frozen.pid, "SIGCONT")),
        );
      }
    } else {
      const killed = workers.slice(0, dice.whole(1, 3));
      if (killed.length > 0) say(`kills ${killed.map(({ id, incarnation }) => `${id}#${incarnation}`).join(", ")}`);
      for (const worker of killed) strike(worker, "SIGKILL");
      counts.killedWorkers += killed.length;
    }
    await sleep(dice.between(1_000, 3_000), undefined, { signal }).catch(() => {});
  }
  await Promise.all(thaws);
}

/**
 * Which resources may be struck again. One that ends again and again is replaced later each time, up to 5 minutes, until it has lived for
 * 10: nobody would wait for that at the end.
 */
function sparing() {
  const struck = new Map<string, number[]>();
  const recent = (id: string): number[] => (struck.get(id) ?? []).filter((at) => performance.now() - at < STABLE_MS);
  return {
    admits: (id: string): boolean => recent(id).length < MOST_STRIKES,
    count: (id: string): void => void struck.set(id, [...recent(id), performance.now()]),
  };
}

type Fault = (options: WithDice) => Promise<void>;

const FAULTS: readonly Fault[] = [
  (options) => cutLeader(options, "hold", "heldCuts"),
  freezeLeader,
  killLeader,
  (options) => cutLeader(options, "swallow", "swallowedCuts"),
  killCopy,
  (options) => cutLeader(options, "reset", "resetCuts"),
];

async function faultsOfCopies(options: WithDice): Promise<void> {
  const { dice, signal } = options;
  // Each kind once before one comes again.
  for (let left: Fault[] = []; !signal.aborted; ) {
    if (left.length === 0) left = dice.shuffle(FAULTS);
    await left.shift()?.({ ...options, dice: dice.fork() });
    await sleep(dice.between(300, 1_500), undefined, { signal }).catch(() => {});
  }
}

async function killLeader(options: WithDice): Promise<void> {
  const leader = await leaderAtWork(options);
  if (leader === undefined) return;
  options.say(`kills the leader, ${leader.name}`);
  await leader.kill();
  options.counts.killedLeaders += 1;
  await anotherLeads(options, "kill", leader);
  await startAgain(leader);
}

async function killCopy({ copies, dice, leader, counts, say }: WithDice): Promise<void> {
  const leading = await leader();
  const copy = dice.pick(copies.filter(({ name, url }) => name !== leading && url !== undefined));
  if (copy === undefined) return;
  say(`kills ${copy.name}`);
  await copy.kill();
  counts.killedCopies += 1;
  await sleep(dice.between(300, 1_500));
  await startAgain(copy);
}

async function freezeLeader(options: WithDice): Promise<void> {
  const leader = await leaderAtWork(options);
  if (leader === undefined) return;
  options.say(`freezes the leader, ${leader.name}`);
  leader.freeze();
  options.counts.frozenLeaders += 1;
  await anotherLeads(options, "freeze", leader);
  await sleep(options.dice.between(0, 1_500));
  leader.thaw();
}

async function cutLeader(options: WithDice, how: Cut, counter: keyof FaultCounts): Promise<void> {
  const leader = await leaderAtWork(options);
  if (leader === undefined) return;
  options.say(`cuts the ledger off from the leader, ${leader.name} (${how})`);
  leader.proxy.cut(how);
  options.counts[counter] += 1;
  await anotherLeads(options, `cut off, ${how}`, leader);
  await sleep(options.dice.between(0, 1_500));
  leader.proxy.heal();
}

/** The leader, in the middle of a creation if there is one soon: where a fault hurts most. */
async function leaderAtWork({ copies, dice, leader, isCreating }: WithDice): Promise<Copy | undefined> {
  if (dice.chance(0.8)) await until(isCreating, { withinMs: STRIKE_WITHIN_MS, everyMs: 5 });
  let leading: Copy | undefined;
  await until(async () => {
    const name = await leader();
    leading = copies.find((copy) => copy.name === name && copy.url !== undefined);
    return leading !== undefined;
  });
  return leading;
}

async function anotherLeads(
  { leader, leaseMs, onTakeover, say }: WithDice,
  fault: string,
  { name }: Copy,
): Promise<void> {
  const since = performance.now();
  const isOver = await until(async () => ![undefined, name].includes(await leader()), { withinMs: leaseMs + LATE_MS });
  const tookMs = Math.round(performance.now() - since);
  onTakeover({ fault, former: name, ...(isOver ? { tookMs } : {}) });
  say(isOver ? `another copy leads after ${(tookMs / 1_000).toFixed(1)} s` : "no other copy leads");
}
