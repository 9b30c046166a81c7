import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisClientOf } from "../../../adapters/stores/redis-client-detection.ts";
import { RedisConnection } from "../../../adapters/stores/redis-connection.ts";
import { redisResources } from "../../../adapters/stores/redis-resources.ts";
import { APPLY } from "../../../adapters/stores/redis-resources-apply.ts";
import { CHANGED_SINCE, LIST, STALE_BEFORE } from "../../../adapters/stores/redis-resources-reads.ts";
import type { ScriptRunner } from "../../../adapters/stores/redis-resources-steps.ts";
import { REGISTER_GROUP } from "../../../adapters/stores/redis-resources-writes.ts";
import type { RedisScript } from "../../../adapters/stores/redis-script.ts";
import { systemClock } from "../../../src/clock.ts";
import type { CreateResource, ResourceStore } from "../../../src/store.ts";
import { ManualClock } from "../../../src/testing/index.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";

const CALL = { timeoutMs: 30_000 };
const group = "workers";

describeRedis("what happens between the steps of a call of redisStore's resources", () => {
  const client = createClient({ url: redisUrl() });
  let connection: RedisConnection;
  let prefix: string;
  let resources: ResourceStore;

  beforeEach(async () => {
    await client.connect();
    prefix = `test:${randomUUID()}:`;
    const formatKey = `${prefix}format`;
    const options = { clock: systemClock, allowEviction: false, formatKey, onUnknownPolicy: () => {} };
    connection = new RedisConnection(redisClientOf("the first argument", client as never), options);
    resources = redisResources({ connection, clock: systemClock, prefix });
  });

  afterEach(async () => {
    await connection.close();
    client.destroy();
  });

  const creation = (id: string, overrides: Partial<CreateResource> = {}): CreateResource => {
    const fields = { state: "PROVISIONED", generation: 1, attempt: 1 } as const;
    return { kind: "create", id, after: 0, nonce: randomUUID(), ...fields, ...overrides };
  };
  const idOf = (index: number): string => `web-${String(index).padStart(4, "0")}`;
  const fill = async (count: number): Promise<void> => {
    const writes = Array.from({ length: count }, (_, index) => creation(idOf(index)));
    await resources.apply({ group, epoch: 0, writes }, CALL);
  };
  /** Resources that wait for `happen` before or after they run a script for the first time. */
  const disturbed = (script: RedisScript, when: "before" | "after", happen: () => Promise<void>): ResourceStore => {
    let isOver = false;
    const once = async (now: typeof when, ran: RedisScript): Promise<void> => {
      if (now !== when || ran !== script || isOver) return;
      isOver = true;
      await happen();
    };
    const runner: ScriptRunner = {
      async run(ran, call, bounds) {
        await once("before", ran);
        const reply = await connection.run(ran, call, bounds);
        await once("after", ran);
        return reply;
      },
    };
    return redisResources({ connection: runner, clock: systemClock, prefix });
  };
  const terminate = async (ids: readonly string[]): Promise<void> => {
    const fields = { state: "FAILED", generation: 1, attempt: 1, incarnation: 1, expectedVersion: 1 } as const;
    const writes = ids.map((id) => ({ kind: "update", id, nonce: randomUUID(), ...fields }) as const);
    await resources.apply({ group, epoch: 0, writes }, CALL);
  };

  it("tells changes as of the first step, and later ones under the cursor", async () => {
    await fill(1_500);
    const moved = [idOf(0), idOf(1_200)];
    const reading = disturbed(CHANGED_SINCE, "after", async () => {
      await terminate(moved);
      await resources.apply({ group, epoch: 0, writes: [creation("new")] }, CALL);
    });
    const first = await reading.changedSince({ group, limit: 9_999 }, CALL);
    expect(first.rows).toHaveLength(1_499);
    expect(new Set(first.rows.map(({ id }) => id)).size).toBe(1_499);
    const second = await reading.changedSince({ group, limit: 9_999, cursor: first.cursor }, CALL);
    expect(second.rows.map(({ id, state }) => `${id} ${state}`)).toEqual([
      ...moved.map((id) => `${id} FAILED`),
      "new PROVISIONED",
    ]);
  });

  it("begins anew where the ledger is lost between two steps", async () => {
    await fill(1_500);
    const reading = disturbed(CHANGED_SINCE, "after", async () => {
      const keys: string[] = [];
      for await (const page of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 10_000 })) keys.push(...page);
      await client.del(keys);
      await resources.apply({ group, epoch: 0, writes: [creation("new 0"), creation("new 1")] }, CALL);
    });
    const { cursor } = await resources.changedSince({ group, limit: 1 }, CALL);
    const { rows, reset } = await reading.changedSince({ group, cursor, limit: 1_001 }, CALL);
    expect([rows.map(({ id }) => id), reset]).toEqual([["new 0", "new 1"], true]);
  });

  it("passes over no silent row when others give a sign of life", async () => {
    await fill(1_500);
    const all = (await resources.staleBefore({ group, ageMs: -1, limit: 9_999 }, CALL)).rows.map(({ id }) => id);
    const beating = [all[0], all[500], all[999], all[1_000]] as string[];
    const reading = disturbed(STALE_BEFORE, "after", async () => {
      await resources.heartbeat({ group, beats: beating.map((id) => ({ id })) }, CALL);
    });
    const { rows } = await reading.staleBefore({ group, ageMs: -1, limit: 9_999 }, CALL);
    expect(rows.map(({ id }) => id).sort()).toEqual([...all].sort());
  });

  it("lists each row once, whatever is made and changed in between", async () => {
    await fill(1_500);
    const reading = disturbed(LIST, "after", async () => {
      await terminate([idOf(3), idOf(1_300)]);
      const writes = [creation("a first one"), creation("z last one")];
      await resources.apply({ group, epoch: 0, writes }, CALL);
    });
    const ids = (await reading.list({ group, limit: 9_999 }, CALL)).map(({ id }) => id);
    expect(ids).toEqual([...Array.from({ length: 1_500 }, (_, index) => idOf(index)), "z last one"]);
  });

  it("does not begin a step when the call's time is up", async () => {
    const clock = new ManualClock();
    let runs = 0;
    const runner: ScriptRunner = {
      async run() {
        runs += 1;
        await clock.advance(1_000);
        return [Buffer.from("rows"), Buffer.from("1"), Buffer.from("(web-1")];
      },
    };
    const slow = redisResources({ connection: runner, clock, prefix });
    const late = slow.list({ group, limit: 9 }, { timeoutMs: 2_500 });
    await expect(late).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", cause: expect.any(Error) });
    expect(runs).toBe(3);
  });

  it("puts a group's name down before its first write, so that no crash can leave a group that nobody finds", async () => {
    const crashing = disturbed(APPLY, "before", () => Promise.reject(new Error("crashed")));
    const request = { group, epoch: 0, writes: [creation("web-1")] };
    await expect(crashing.apply(request, CALL)).rejects.toThrow("crashed");
    expect(await resources.listGroups({ limit: 9 }, CALL)).toEqual([group]);
    expect(await resources.getDesired(group, CALL)).toEqual({ generation: 0, epoch: 0 });
    expect((await crashing.apply(request, CALL)).status).toBe("decided");
    expect(await resources.listGroups({ limit: 9 }, CALL)).toEqual([group]);
  });

  it("puts a group's name down once, and again where that failed", async () => {
    let times = 0;
    const runner: ScriptRunner = {
      async run(script, call, bounds) {
        if (script !== REGISTER_GROUP) return connection.run(script, call, bounds);
        times += 1;
        if (times === 1) throw new Error("the connection was lost");
        return connection.run(script, call, bounds);
      },
    };
    const own = redisResources({ connection: runner, clock: systemClock, prefix });
    const desire = (desired: string) => own.setDesired({ group, epoch: 0, nonce: "n", desired }, CALL);
    await expect(desire("1")).rejects.toThrow("lost");
    for (const desired of ["1", "2", "3"]) await desire(desired);
    await own.apply({ group, epoch: 0, writes: [creation("web-1")] }, CALL);
    expect(times).toBe(2);
  });
});
