import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { type LedgerStore, type ObservedResource, Reconciler, type ResourceWrite } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { sqliteStore } from "evenkeel/sqlite";
import { countingStore } from "./counting-store.ts";
import { HoldMeter, nowMs } from "./hold-meter.ts";

const GROUP = "web";
const BATCH = 1_000;
const TOUCHED = 10;
const LINES = ["memory number ledger", "SQLite number ledger", "memory list ledger", "memory number observe"];
/** How many passes one figure is the median of. */
const PASSES = 50;
const CALL = { signal: new AbortController().signal, timeoutMs: 60_000 };

/** One line of the table. */
interface Scenario {
  readonly engine: "memory" | "SQLite";
  readonly count: number;
  /** A number, or a list of resources with specs. */
  readonly desired: "number" | "list";
  /** The ledger's own rows, or an `observe` that answers an item for each. */
  readonly observed: "ledger" | "observe";
}

/** What something took, and the longest that it kept the event loop in one piece. */
interface Figure {
  readonly ms: number;
  readonly heldMs: number;
}

const folder = mkdtempSync(join(tmpdir(), "evenkeel-bench-"));
const only = process.env["BENCH_ONLY"];
const scenarios: Scenario[] = [
  ...[1_000, 10_000, 100_000, 1_000_000].flatMap((count): Scenario[] => [
    { engine: "memory", count, desired: "number", observed: "ledger" },
    { engine: "SQLite", count, desired: "number", observed: "ledger" },
  ]),
  ...[10_000, 100_000, 1_000_000].map((count): Scenario => {
    return { engine: "memory", count, desired: "list", observed: "ledger" };
  }),
  ...[10_000, 100_000].map((count): Scenario => {
    return { engine: "memory", count, desired: "number", observed: "observe" };
  }),
].sort((a, b) => LINES.indexOf(kindOf(a)) - LINES.indexOf(kindOf(b)));

/** In the order of the table. */
function kindOf({ engine, desired, observed }: Scenario): string {
  return `${engine} ${desired} ${observed}`;
}

const idOf = (index: number): string => `${GROUP}-${index}`;
const specOf = (index: number) => ({ image: "web:1.4.2", zone: `zone-${index % 3}`, memoryMb: 512 });
const specTextOf = (index: number): string => {
  const { image, memoryMb, zone } = specOf(index);
  return JSON.stringify({ image, memoryMb, zone });
};

/** Rows as a reconciler would have left them. */
async function fill(store: LedgerStore, { count, desired }: Scenario): Promise<void> {
  for (let start = 0; start < count; start += BATCH) {
    const writes = Array.from({ length: Math.min(BATCH, count - start) }, (_, at): ResourceWrite => {
      const index = start + at;
      return {
        kind: "create",
        after: 0,
        id: idOf(index),
        nonce: `fill-${index}`,
        state: "PROVISIONED",
        externalId: `i-${index}`,
        ...(desired === "list" ? { spec: specTextOf(index) } : {}),
        generation: 1,
        attempt: 1,
      };
    });
    await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
    await new Promise(setImmediate);
  }
}

/** Writes to the newest incarnations of so many rows, as another process might. */
async function touch(store: LedgerStore, round: number, state: "PROVISIONED" | "TERMINATED"): Promise<void> {
  const writes: ResourceWrite[] = [];
  for (let index = 0; index < TOUCHED; index += 1) {
    const row = await store.resources.get(GROUP, idOf(index * 7), CALL);
    if (row === undefined) throw new Error(`${idOf(index * 7)} is not there`);
    const { id, incarnation, version: expectedVersion, spec, generation } = row;
    writes.push({
      kind: "update",
      ...{ id, incarnation, expectedVersion, generation, state },
      ...(spec === undefined ? {} : { spec }),
      externalId: `i-${index * 7}-${round}`,
      nonce: `touch-${round}-${index}`,
      attempt: 1,
    });
  }
  await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
}

async function measured(work: () => Promise<unknown>): Promise<Figure> {
  const meter = new HoldMeter();
  await work();
  return meter.stop();
}

/** The median of what several take, and the longest hold of others that are watched. */
async function repeated(work: () => Promise<unknown>, before: (round: number) => Promise<void>): Promise<Figure> {
  const times: number[] = [];
  const holds: number[] = [];
  for (let round = 0; round < PASSES; round += 1) {
    await before(round);
    const start = nowMs();
    await work();
    times.push(nowMs() - start);
    await before(PASSES + round);
    holds.push((await measured(work)).heldMs);
  }
  times.sort((a, b) => a - b);
  return { ms: times[PASSES >> 1] ?? 0, heldMs: Math.max(...holds) };
}

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

async function line(scenario: Scenario): Promise<string> {
  const { engine, count, desired, observed } = scenario;
  const inner = engine === "memory" ? memoryStore() : sqliteStore(join(folder, `${count}.db`));
  const { store, calls } = countingStore(inner);
  const atFirst = usedHeap();
  const filled = await measured(() => fill(store, scenario));
  const withStore = usedHeap();
  const items: ObservedResource[] = Array.from({ length: observed === "observe" ? count : 0 }, (_, index) => ({
    id: idOf(index),
  }));
  const withItems = usedHeap();
  const workers = new Reconciler({
    name: GROUP,
    store,
    // Nothing falls silent while it is measured.
    resyncIntervalMs: 3_600_000,
    staleness: { quietMs: 3_600_000, assess: () => ({ verdict: "fresh" }) },
    create: async ({ id, incarnation }) => ({ externalId: `${id}-${incarnation}` }),
    terminate: async () => {},
    ...(observed === "observe" ? { observe: () => items } : {}),
  });
  const list = Array.from({ length: desired === "list" ? count : 0 }, (_, index) => ({
    id: idOf(index),
    spec: specOf(index),
  }));
  const set = await measured(() => workers.setDesired(desired === "list" ? list : count));
  const pass = async (): Promise<void> => {
    const { converged } = await workers.reconcile();
    if (!converged) throw new Error("a pass did not converge");
  };
  list.length = 0;
  const first = await measured(pass);
  const withMirror = usedHeap();
  await pass();
  calls.length = 0;
  await pass();
  const callsAtRest = calls.length;
  const rest = await repeated(pass, async () => {});
  const changed = await repeated(pass, (round) => touch(inner, round, "PROVISIONED"));
  const missing =
    observed === "observe" ? undefined : await repeated(pass, (round) => touch(inner, round, "TERMINATED"));
  await store.close();
  const cells = [
    ...[engine, desired, observed, count.toLocaleString("en-US")],
    ...[
      inSeconds(filled),
      inSeconds(set),
      inSeconds(first),
      inMicroseconds(rest),
      callsAtRest,
      inMicroseconds(changed),
    ],
    ...[missing === undefined ? "" : inMicroseconds(missing)],
    ...[Math.round((withStore - atFirst) / count), Math.round((withMirror - withItems) / count)],
  ];
  return `| ${cells.join(" | ")} |`;
}

const inSeconds = ({ ms, heldMs }: Figure): string => `${(ms / 1_000).toFixed(3)} s / ${heldMs.toFixed(0)} ms`;
const inMicroseconds = ({ ms, heldMs }: Figure): string =>
  `${Math.round(ms * 1_000).toLocaleString("en-US")} µs / ${heldMs.toFixed(1)} ms`;

try {
  console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model.trim()}\n`);
  console.log(
    "| engine | desired | observed | resources | fill | setDesired | first pass | at rest | calls | 10 changed | 10 missing | B store | B reconciler |",
  );
  console.log("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
  for (const scenario of scenarios) {
    if (only === undefined || `${kindOf(scenario)} ${scenario.count}`.includes(only)) console.log(await line(scenario));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
