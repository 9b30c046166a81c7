import {
  type LedgerStore,
  type ObservedResource,
  Reconciler,
  type ReconcilerOptions,
  type ResourceWrite,
} from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, describe, expect, it } from "vitest";

const GROUP = "web";
/** What the reconciler asks for at a time. */
const PAGE = 1_000;
const CALL = { signal: new AbortController().signal, timeoutMs: 1_000 };

/** What a store was asked, and how many rows its answers held. */
interface Asked {
  calls: string[];
  rows: number;
  writes: number;
}

const clocks: ManualClock[] = [];

afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

function rowsIn(answer: unknown): number {
  if (Array.isArray(answer)) return answer.length;
  const rows = (answer as { rows?: unknown[] } | undefined)?.rows;
  if (rows !== undefined) return rows.length;
  return Number(answer !== undefined && "version" in (answer as object));
}

function counting(inner: LedgerStore): { readonly store: LedgerStore; readonly asked: Asked } {
  const asked: Asked = { calls: [], rows: 0, writes: 0 };
  const resources = new Proxy(inner.resources, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...parameters: unknown[]) => Promise<unknown>;
      return async (...parameters: unknown[]) => {
        asked.calls.push(String(name));
        const [request] = parameters as [{ writes?: unknown[] }];
        asked.writes += request.writes?.length ?? 0;
        const answer = await method.apply(target, parameters);
        asked.rows += rowsIn(answer);
        return answer;
      };
    },
  });
  return { store: { ...inner, resources }, asked };
}

/** A ledger in which so many rows are PROVISIONED, and a reconciler that wants just these and has never looked. */
async function setUp(count: number, options: Partial<ReconcilerOptions> = {}) {
  const clock = new ManualClock();
  clocks.push(clock);
  const { store, asked } = counting(memoryStore({ clock }));
  const created: string[] = [];
  const create = (index: number): ResourceWrite => ({
    kind: "create",
    after: 0,
    id: `${GROUP}-${index}`,
    nonce: `fill-${index}`,
    state: "PROVISIONED",
    generation: 1,
    attempt: 1,
  });
  const writes = Array.from({ length: count }, (_, index) => create(index));
  await store.resources.apply({ group: GROUP, epoch: 0, writes }, CALL);
  const reconciler = new Reconciler({
    name: GROUP,
    store,
    clock,
    random: seededRandom(1),
    create: async ({ id }) => {
      created.push(id);
    },
    terminate: async () => {},
    ...options,
  });
  if (options.desired === undefined) await reconciler.setDesired(count);
  const measured = async () => {
    Object.assign(asked, { calls: [], rows: 0, writes: 0 });
    const report = await reconciler.reconcile();
    return { report, ...asked };
  };
  /** Another process writes to the first ten rows. */
  const touchTen = async (state: "PROVISIONED" | "TERMINATED"): Promise<void> => {
    const updates: ResourceWrite[] = [];
    for (let index = 0; index < 10; index += 1) {
      const { nonce: _nonce, kind: _kind, ...fields } = create(index);
      const at = { incarnation: 1, expectedVersion: 1 };
      updates.push({ ...fields, ...at, kind: "update", nonce: `touch-${index}`, state, externalId: `x${index}` });
    }
    await store.resources.apply({ group: GROUP, epoch: 0, writes: updates }, CALL);
  };
  return { clock, asked, created, reconciler, measured, touchTen };
}

/** Does something, and counts the turns that the event loop takes meanwhile; calls back at each. */
async function turnsDuring(work: () => Promise<unknown>, onTurn: () => void = () => {}): Promise<number> {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    onTurn();
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await work();
  isOver = true;
  return turns;
}

describe("what a pass costs", () => {
  it.each([10, 10_000])("at rest over %i rows is four questions, a row for the clock and no write", async (count) => {
    const { measured, reconciler, created } = await setUp(count);
    await reconciler.reconcile();
    for (let pass = 0; pass < 3; pass += 1) {
      const { report, ...cost } = await measured();
      expect(report.converged).toBe(true);
      expect(cost).toEqual({ calls: ["list", "getDesired", "changedSince", "staleBefore"], rows: 1, writes: 0 });
    }
    expect(created).toEqual([]);
  });

  it.each([100, 10_000])(
    "after ten of %i rows were written is these ten and one more, for the clock",
    async (count) => {
      const { measured, reconciler, touchTen } = await setUp(count);
      await reconciler.reconcile();
      await touchTen("PROVISIONED");
      const { report, ...cost } = await measured();
      expect(report.converged).toBe(true);
      expect(cost).toEqual({ calls: ["list", "getDesired", "changedSince", "staleBefore"], rows: 11, writes: 0 });
    },
  );

  it("with ten missing is the same among a hundred and among ten thousand", async () => {
    const costs = [];
    for (const count of [100, 10_000]) {
      const { measured, reconciler, touchTen, created } = await setUp(count);
      await reconciler.reconcile();
      await touchTen("TERMINATED");
      const { report, ...cost } = await measured();
      expect(report.converged).toBe(true);
      expect(created).toHaveLength(10);
      costs.push(cost);
    }
    expect(costs[1]).toEqual(costs[0]);
    expect(costs[0]?.rows).toBe(11);
    // PENDING and PROVISIONED of each, and how the group stands.
    expect(costs[0]?.writes).toBe(20);
  });

  it("for the first time is every row once", async () => {
    const { measured } = await setUp(10_000);
    const { report, rows, writes } = await measured();
    expect(report.converged).toBe(true);
    expect({ rows, writes }).toEqual({ rows: 10_001, writes: 0 });
  });
});

describe("where beats come by observing, a pass", () => {
  const COUNT = 10_000;
  const silent = new Set<string>();
  const setUpObserved = async () => {
    silent.clear();
    const beatsOf = (now: number): ObservedResource[] =>
      Array.from({ length: COUNT }, (_, index) => ({
        id: `${GROUP}-${index}`,
        incarnation: 1,
        lastHeartbeatAt: silent.has(`${GROUP}-${index}`) ? 1 : now,
      }));
    const kit = await setUp(COUNT, { observe: ({ now }) => beatsOf(now), massGuard: false });
    await kit.reconciler.reconcile();
    for (let pass = 0; pass < 4; pass += 1) {
      await kit.clock.advance(20_000);
      await kit.reconciler.reconcile();
    }
    return kit;
  };

  it("at rest reads nothing but the clock", async () => {
    const { measured } = await setUpObserved();
    const { report, ...cost } = await measured();
    expect(report.converged).toBe(true);
    expect(cost).toEqual({ calls: ["list", "getDesired", "changedSince"], rows: 1, writes: 0 });
  });

  it("reads those that look silent, and no other", async () => {
    const { measured, clock, created } = await setUpObserved();
    silent.add(`${GROUP}-7`);
    await clock.advance(30_001);
    const { calls } = await measured();
    expect(calls.slice(0, 4)).toEqual(["list", "getDesired", "changedSince", "get"]);
    expect(calls).not.toContain("staleBefore");
    expect(created).toEqual([`${GROUP}-7`]);
  });

  it("reads in pages where all look silent, and gives way between them", async () => {
    const { reconciler, clock, asked } = await setUpObserved();
    for (let index = 0; index < COUNT; index += 1) silent.add(`${GROUP}-${index}`);
    await clock.advance(30_001);
    asked.rows = 0;
    let mostRows = 0;
    await turnsDuring(
      () => reconciler.plan(),
      () => {
        mostRows = Math.max(mostRows, asked.rows);
        asked.rows = 0;
      },
    );
    expect(mostRows).toBeGreaterThan(0);
    expect(mostRows).toBeLessThanOrEqual(PAGE + 1);
  });
});

describe("a pass over ten thousand resources gives way to the event loop", () => {
  const COUNT = 10_000;

  it.each(["desired", "observe"] as const)(
    "while it reads an answer of %s that never ends, until its time is up",
    async (of) => {
      let taken = 0;
      function* items(): Generator<ObservedResource> {
        for (;;) {
          taken += 1;
          yield { id: `endless-${taken}` };
        }
      }
      const { reconciler, clock } = await setUp(0, { [of]: () => items() });
      const pass = reconciler.reconcile();
      await clock.advance(10_000);
      const turns = await turnsDuring(async () => {
        await clock.advance(20_000);
        expect(await pass).toMatchObject({ actions: [], converged: false });
      });
      expect(turns).toBeGreaterThan(0);
      const read = taken;
      await turnsDuring(() => clock.advance(1));
      expect(taken).toBe(read);
      expect(read).toBeLessThan(2_000_000);
    },
  );

  it("after each page, and now and then while it wants and judges them", async () => {
    const { reconciler, asked } = await setUp(COUNT);
    let mostRows = 0;
    const turns = await turnsDuring(
      () => reconciler.reconcile(),
      () => {
        mostRows = Math.max(mostRows, asked.rows);
        asked.rows = 0;
      },
    );
    expect(mostRows).toBeLessThanOrEqual(PAGE + 1);
    // Ten each while they are read, wanted and marked to be judged, and twenty while they are judged.
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  it("while it takes an answer of observe", async () => {
    let taken = 0;
    function* items(): Generator<ObservedResource> {
      for (let index = 0; index < COUNT; index += 1) {
        taken += 1;
        yield { id: `${GROUP}-${index}` };
      }
    }
    const { reconciler } = await setUp(COUNT, { observe: () => items() });
    let most = 0;
    await turnsDuring(
      () => reconciler.reconcile(),
      () => {
        most = Math.max(most, taken);
        taken = 0;
      },
    );
    expect(most).toBeLessThanOrEqual(1_000);
  });

  it("while it weighs what is to be done about each", async () => {
    let asked = 0;
    const owns = (): boolean => {
      asked += 1;
      return false;
    };
    const desired = () => Array.from({ length: COUNT }, (_, index) => ({ id: `api-${index}` }));
    const { reconciler } = await setUp(0, { desired, shards: { owns, epochOf: () => undefined } });
    let most = 0;
    await turnsDuring(
      () => reconciler.plan(),
      () => {
        most = Math.max(most, asked);
        asked = 0;
      },
    );
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(500);
  });

  it("while it reads them all for a policy that names no quiet time", async () => {
    const { reconciler, asked } = await setUp(COUNT, { staleness: { assess: () => ({ verdict: "fresh" }) } });
    let mostRows = 0;
    await turnsDuring(
      () => reconciler.reconcile(),
      () => {
        mostRows = Math.max(mostRows, asked.rows);
        asked.rows = 0;
      },
    );
    expect(mostRows).toBeLessThanOrEqual(PAGE + 1);
  });
});
