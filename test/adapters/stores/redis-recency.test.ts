import { createHash, randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { compareRecency } from "../../../src/execution-record.ts";
import type { ExecutionView, LedgerStore } from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";

const CALL = { timeoutMs: 60_000 };
const RETENTION_MS = 3_600_000;

describeRedis("the recent executions of a ledger in Redis", () => {
  let client: ReturnType<typeof createClient>;
  let store: LedgerStore;
  beforeEach(async () => {
    client = createClient({ url: redisUrl() });
    await client.connect();
    store = redisStore(client as never, { keyPrefix: `${randomUUID()}:` });
  });
  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const spread = (index: number): string => createHash("sha256").update(`${index}`).digest("hex");
  const crowded = (index: number): string => index.toString().padStart(64, "0");

  async function claimed(id: string, operation = "o"): Promise<number> {
    const asked = { id, operation, scope: "", nonce: "n", leaseMs: 60_000, retentionMs: RETENTION_MS } as const;
    const claim = await store.executions.claim({ ...asked, onAbandoned: "takeover" }, CALL);
    if (claim.status !== "acquired") throw new Error(claim.status);
    return claim.token;
  }

  const idsOf = (views: readonly ExecutionView[]): string[] => views.map(({ id }) => id);

  it("are those of all buckets, in their order, where all have one retention", async () => {
    for (let from = 0; from < 2_000; from += 100)
      await Promise.all(Array.from({ length: 100 }, (_, index) => claimed(spread(from + index))));
    const all = await store.executions.list({ limit: 2_000 }, CALL);
    const inOrder = idsOf(all.sort(compareRecency));
    for (const limit of [1, 10, 300])
      expect(idsOf(await store.executions.recent({ limit }, CALL))).toEqual(inOrder.slice(0, limit));
    expect(await store.executions.recent({ limit: 5_000 }, CALL)).toHaveLength(2_000);
  });

  it("are found where they are all in one bucket", async () => {
    await Promise.all(Array.from({ length: 50 }, (_, index) => claimed(spread(index))));
    for (let index = 0; index < 60; index += 1) await claimed(crowded(index));
    const all = await store.executions.list({ limit: 200 }, CALL);
    // Some of them are of one millisecond: those go by id.
    const last = idsOf(all.sort(compareRecency)).slice(0, 20);
    expect(new Set(last.map((id) => id.slice(0, 60)))).toEqual(new Set([crowded(0).slice(0, 60)]));
    expect(idsOf(await store.executions.recent({ limit: 20 }, CALL))).toEqual(last);
  });

  it("are found behind some that are gone, which the index does not know yet", async () => {
    await claimed(crowded(1_000), "kept");
    for (let index = 0; index < 100; index += 1) {
      const token = await claimed(crowded(index));
      const outcome = { kind: "value", bytes: new Uint8Array() } as const;
      await store.executions.complete({ id: crowded(index), token, nonce: "n", outcome, retentionMs: 1 }, CALL);
    }
    await expect.poll(() => store.executions.get(crowded(99), CALL), { timeout: 10_000 }).toBeUndefined();
    expect(idsOf(await store.executions.recent({ limit: 2 }, CALL))).toEqual([crowded(1_000)]);
    expect(idsOf(await store.executions.recent({ limit: 2, operation: "kept" }, CALL))).toEqual([crowded(1_000)]);
  });
});
