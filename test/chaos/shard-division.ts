import { setTimeout as sleep } from "node:timers/promises";
import { expect, type TestContext } from "vitest";
import { ResourceLedger, type ResourceRow } from "../../src/index.ts";
import { openLedger } from "../support/open-ledger.ts";
import { resourcesIn } from "../support/reconciler-folder.ts";
import { SLOTS, WRITTEN } from "../support/shard-lines.ts";
import type { ShardNodeSettings } from "../support/shard-node.ts";
import { type ShardNode, startShardNodes } from "../support/shard-nodes.ts";
import { until } from "../support/until.ts";
import type { Outage } from "./election-processes.ts";
import { judgeShards, judgeWritten } from "./shard-log.ts";

const CALL = { timeoutMs: 5_000 };
const SLOT_COUNT = 20;
const FEWER_SLOTS = 8;
const CHURN_MS = 700;

/** What the processes of a division are given. */
export interface DivisionTerms {
  /** What `buildWorker("shard-node")` made. */
  readonly program: string;
  /** Of an empty ledger, see `openLedger`. */
  readonly url: string;
  /** For the first of the processes, of the ledger with this URL. */
  newOutage(url: string): Promise<Outage>;
  readonly settings: ShardNodeSettings;
}

/**
 * Starts three processes on one ledger, has more and fewer slots be desired by turns, and gives what a test needs to do something to
 * them and to judge what they did. All ends with the test.
 */
export async function setUpDivision(test: TestContext, { program, url, newOutage, settings }: DivisionTerms) {
  const ledger = await openLedger(url);
  test.onTestFinished(() => ledger.close());
  // Makes the ledger.
  await ledger.store.leases.list("shards", { timeoutMs: 20_000 });
  const outage = await newOutage(url);
  test.onTestFinished(() => outage.dispose());
  const division = await startShardNodes(program, [outage.url, url, url], settings);
  test.onTestFinished(() => division.end());
  const { nodes, world, stop } = division;
  const takePart = (...those: readonly ShardNode[]) => Promise.all(those.map((node) => node.tell({ do: "start" })));

  const slots = new ResourceLedger({ store: ledger.store, group: SLOTS });
  let isChurning = true;
  /** So that the reconcilers have something to do whatever happens. */
  const churning = (async () => {
    for (let n = 0; isChurning; n += 1) {
      await slots.setDesired(n % 2 === 0 ? SLOT_COUNT : FEWER_SLOTS).catch(() => {});
      await sleep(CHURN_MS);
    }
  })();
  test.onTestFinished(() => {
    isChurning = false;
    return churning;
  });

  async function written(): Promise<ResourceRow[]> {
    const found: ResourceRow[] = [];
    for (let cursor: string | undefined; ; ) {
      const request = { group: WRITTEN, limit: 1_000, ...(cursor === undefined ? {} : { cursor }) };
      const page = await ledger.store.resources.changedSince(request, CALL);
      if (page.rows.length === 0) return found;
      found.push(...page.rows);
      cursor = page.cursor;
    }
  }

  async function liveSlots(): Promise<ResourceRow[]> {
    const rows = await ledger.store.resources.list({ group: SLOTS, limit: 5_000 }, CALL);
    return rows.filter(({ state }) => state !== "TERMINATED");
  }

  /** Sees the slots through, has the rest of the processes stop, and judges what all of them did. */
  async function finish(running: readonly ShardNode[]) {
    isChurning = false;
    await churning;
    await slots.setDesired(SLOT_COUNT);
    const names = Array.from({ length: SLOT_COUNT }, (_, n) => `${SLOTS}-${n}`).sort();
    await until("each slot has one live resource", async () => {
      const rows = await liveSlots();
      const known = rows.map(({ id }) => id).sort();
      const made = resourcesIn(world).map(({ id }) => id);
      const areMade = rows.every(({ state }) => state === "PROVISIONED");
      return areMade && isSame(known, names) && isSame(made.sort(), names);
    });
    const codes = await stop(running);
    expect(codes).toEqual(codes.map(() => 0));
    const logs = nodes.map((node) => node.lines());
    const verdict = judgeShards(logs, settings);
    const gaps = verdict.moves.map(({ gapMs }) => gapMs);
    await test.annotate(`${gaps.length} moves, ${Math.min(...gaps).toFixed(1)} ms at least without an effect`);
    await test.annotate(`${verdict.fenced.length} writes were refused`);
    expect(verdict.violations).toEqual([]);
    expect(judgeWritten(logs, await written())).toEqual([]);
    return { ...verdict, logs };
  }

  return { ...division, outage, takePart, finish };
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.join() === other.join();
}
