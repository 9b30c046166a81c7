import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LedgerStore, ResourceLedger } from "evenkeel";
import { runClients } from "./clients.ts";
import { Copy, startAgain, startPatiently } from "./copy.ts";
import { Delivery } from "./delivery.ts";
import { endsBehind, endsWhen } from "./endings.ts";
import type { Facts, RequestFacts, Snapshot, Strike, TakeoverFacts } from "./facts.ts";
import { injectFaults, NO_FAULTS } from "./faults.ts";
import { sendForgeries } from "./forgeries.ts";
import { judge } from "./judge.ts";
import { otherEpochs } from "./judge-epochs.ts";
import { type Expected, FRESH_MS, unsettled } from "./judge-settling.ts";
import { isAllTried } from "./judge-trial.ts";
import { startLedgerProxy } from "./ledger-proxy.ts";
import { addressOf, type ChaosOptions } from "./options.ts";
import { PATIENCE_MS, patiently, until } from "./patience.ts";
import { Recorder } from "./recorder.ts";
import { countsOf, type Report } from "./report.ts";
import { CALL, ELECTION, takeSnapshot } from "./snapshot.ts";
import { workerLines } from "./worker-processes.ts";

/** So short that there is something to watch, and so long that a busy machine keeps up. */
const LEASE_MS = 3_000;
const STALE_MS = 2 * FRESH_MS;
/** How much longer there are faults where one kind has not come yet: on a busy machine each takes its time. */
const MOST_LONGER_MS = 3 * PATIENCE_MS;
/** Replacements of what ended again and again wait longest. */
const SETTLES_WITHIN_MS = 2 * PATIENCE_MS;
/** Some resyncs of the control plane. */
const REST_MS = 4_000;
const PIECE_MS = 100;
const MOST_RESTS = 5;

export interface RunOptions extends ChaosOptions {
  /** The ledger, by a way that nobody cuts. */
  readonly ledger: LedgerStore & { readonly engine: string };
  readonly url: string;
  /** The run's own folder. */
  readonly folder: string;
  readonly say: (what: string) => void;
  /** Aborts when all of it is to end. */
  readonly signal: AbortSignal;
}

/** Starts a control plane, does to it what can be done, and judges what came of it. */
export async function runChaos(options: RunOptions): Promise<Report> {
  const { ledger: store, url, say, signal, seed, seconds, desired } = options;
  const run = randomBytes(3).toString("hex");
  const folder = join(options.folder, "workers");
  const names = { numbered: `worker-${run}`, listed: `job-${run}` };
  const groups = Object.values(names);
  const crashes: string[] = [];
  const requests: RequestFacts[] = [];
  const takeovers: TakeoverFacts[] = [];
  const strikes: Strike[] = [];
  const faults = { ...NO_FAULTS };

  await patiently(() => new ResourceLedger({ store, group: names.listed }).setDesired([]));
  const copies = await Promise.all(
    Array.from({ length: options.copies }, async (_, n) => {
      const proxy = await startLedgerProxy(addressOf(url));
      const args = [
        ...["--store", proxy.url(url), "--groups", groups.join(), "--workers", folder],
        ...["--desired", desired, "--lease-ms", LEASE_MS, "--stale-ms", STALE_MS].map(String),
      ];
      return new Copy({ name: `copy-${n + 1}`, proxy, args, signal, onCrash: (what) => void crashes.push(what) });
    }),
  );
  const began = performance.now();
  const tell = (what: string): void =>
    say(`${((performance.now() - began) / 1_000).toFixed(1).padStart(5)} s  ${what}`);
  await Promise.all(copies.map(startPatiently));
  const recorder = new Recorder({
    ...{ store, groups, copies, folder },
    onLeader: ({ identity, epoch }) => tell(`${identity} leads, epoch ${epoch}`),
  });
  const snapshot = (): Promise<Snapshot> => patiently(() => takeSnapshot({ store, groups, copies, folder }));
  recorder.start();

  const ids = Array.from({ length: desired }, (_, n) => `${names.numbered}-${n}`);
  const first = await settle(
    snapshot,
    new Map([
      [names.numbered, ids],
      [names.listed, []],
    ]),
  );
  const generationOf = (name: string) => first.groups.find((group) => group.name === name)?.generation ?? 0;
  tell(`${first.processes.length} workers run; chaos begins`);

  const over = endsWhen(() => isAllTried({ faults, deliveries: delivery.counts, requests, ...recorder.facts() }), {
    ...{ leastMs: seconds * 1_000, mostMs: seconds * 1_000 + MOST_LONGER_MS, signal },
  });
  const running = () => copies.flatMap(({ name, url }) => (url === undefined ? [] : [{ name, url }]));
  const delivery = new Delivery({
    copies: running,
    onDone: (request) => void requests.push(request),
    signal: endsBehind(over, 2 * PATIENCE_MS),
  });
  const isCreatingIn = async (group: string): Promise<boolean> =>
    (await store.resources.list({ group, states: ["PENDING"], limit: 1 }, CALL)).length > 0;
  const [overAt, asked] = await Promise.all([
    injectFaults({
      ...{ copies, seed, folder, staleMs: STALE_MS, leaseMs: LEASE_MS, counts: faults, say: tell, signal: over },
      leader: () => patiently(async () => (await store.leases.get(ELECTION, CALL))?.holder),
      isCreating: () => patiently(async () => (await Promise.all(groups.map(isCreatingIn))).includes(true)),
      onStrike: (strike) => void strikes.push(strike),
      onTakeover: (takeover) => void takeovers.push(takeover),
    }).then(() => {
      tell("the faults are over");
      return performance.now();
    }),
    runClients({
      ...{ delivery, seed, run, signal: over },
      numbered: { name: names.numbered, desired, generation: generationOf(names.numbered) },
      listed: { name: names.listed, generation: generationOf(names.listed) },
    }),
  ]);
  for (const copy of copies) await startAgain(copy);
  await delivery.settle();

  const mismatches = await sendForgeries(asked.forgeries, running);
  const expected = new Map(asked.groups.map(({ name, expected }) => [name, expected]));
  let settled = await settle(snapshot, expected);
  const settledAfterMs = Math.round(performance.now() - overAt);
  tell("and now it is left alone");
  // While the machine stood still nobody could beat: what follows from that is no unrest.
  for (let rests = 1; (await overslept(REST_MS, signal)) > FRESH_MS / 2 && rests < MOST_RESTS; rests += 1)
    settled = await settle(snapshot, expected);
  const later = await snapshot();
  await recorder.stop();
  const lateWrites = copies.reduce((total, { proxy }) => total + proxy.late, 0);
  for (const code of await Promise.all(copies.map((copy) => copy.stop())))
    if (code !== 0) crashes.push(`a copy that was asked to end ended with ${code}`);
  await Promise.all(copies.map(({ proxy }) => proxy.close()));

  const facts: Facts = {
    ...recorder.facts(),
    ...{ groups: asked.groups, requests, deliveries: delivery.counts, mismatches, crashes, settled, later },
    ...{ faults, strikes, staleMs: STALE_MS, takeovers },
    lines: workerLines(folder),
  };
  const checks = judge(facts);
  return {
    ok: checks.every(({ wrong }) => wrong.length === 0),
    ...{ seed, engine: store.engine, seconds },
    injected: { ...faults, ...delivery.counts, lateWrites, staleProbes: facts.probes.length },
    seen: {
      ...countsOf(facts),
      fencedWrites: recorder.fencedWrites,
      longestUnconvergedMs: recorder.longestUnconvergedMs,
      settledAfterMs,
    },
    checks,
  };
}

/** Sleeps in short pieces. @returns by how much the longest of them was too long, in milliseconds. */
async function overslept(ms: number, signal: AbortSignal): Promise<number> {
  let longest = 0;
  for (let left = ms; left > 0; left -= PIECE_MS) {
    const began = performance.now();
    await sleep(PIECE_MS, undefined, { signal });
    longest = Math.max(longest, performance.now() - began - PIECE_MS);
  }
  return longest;
}

/** Waits until all is as expected, and gives what there is then, or after all patience. */
async function settle(snapshot: () => Promise<Snapshot>, expected: Expected): Promise<Snapshot> {
  let last: Snapshot | undefined;
  await until(
    async () => {
      last = await snapshot();
      return unsettled(last, expected).length === 0 && otherEpochs(last).length === 0;
    },
    { withinMs: SETTLES_WITHIN_MS, everyMs: 300 },
  );
  return last ?? snapshot();
}
