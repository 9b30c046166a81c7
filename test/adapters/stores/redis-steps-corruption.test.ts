import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterEach, beforeEach, expect, it } from "vitest";
import { redisStore } from "../../../adapters/stores/redis.ts";
import type { ClaimRequest, LedgerStore } from "../../../src/store.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const id = "ab".repeat(32);

describeRedis("the steps of a record in Redis that were tampered with", () => {
  let client: ReturnType<typeof createClient>;
  let store: LedgerStore;
  let prefix: string;
  let token: number;
  beforeEach(async () => {
    client = createClient({ url: redisUrl() });
    await client.connect();
    prefix = `${randomUUID()}:`;
    store = redisStore(client as never, { keyPrefix: prefix });
    const claim = await store.executions.claim(request("first", 60_000), CALL);
    if (claim.status !== "acquired") throw new Error(claim.status);
    ({ token } = claim);
    for (const position of [0, 1]) await record(position);
  });
  afterEach(async () => {
    await store.close();
    client.destroy();
  });

  const request = (nonce: string, leaseMs: number, onAbandoned: ClaimRequest["onAbandoned"] = "takeover") => ({
    ...{ id, operation: "o", scope: "", nonce, leaseMs, retentionMs: 60_000, onAbandoned },
  });
  const record = (position: number) => {
    const outcome = { kind: "value", bytes: Buffer.from("x") } as const;
    return store.executions.recordStep({ id, token, nonce: "first", step: { position, name: "n", outcome } }, CALL);
  };
  const keys = (): Promise<string[]> => client.keys(`${prefix}*`);
  const stepsKey = async (): Promise<string> => (await keys()).find((key) => key.includes(":s:")) as string;
  const dumped = async (): Promise<unknown> => {
    const found = (await keys()).sort();
    return Promise.all(found.map(async (key) => [key, await client.sendCommand(["DUMP", key])]));
  };
  const abandon = () => {
    const as = { mode: "abandon", attempt: 1, retentionMs: 60_000 } as const;
    return store.executions.release({ id, token, nonce: "first", as }, CALL);
  };

  it.each<[string, (steps: string) => Promise<unknown>]>([
    ["all lost", (steps) => client.del(steps)],
    ["with one of them lost", (steps) => client.hDel(steps, ["1n", "1k", "1b"])],
    ["with a field lost", (steps) => client.hDel(steps, "0k")],
    ["with a field too many", (steps) => client.hSet(steps, "2n", "n")],
    ["with a field that is none", (steps) => client.multi().hDel(steps, "0k").hSet(steps, "0z", "value").exec()],
    ["with two of them mixed up", (steps) => client.multi().hDel(steps, "0k").hSet(steps, "2k", "value").exec()],
    ["of an unknown kind", (steps) => client.hSet(steps, "0k", "gift")],
    ["under a key of another type", (steps) => client.multi().del(steps).set(steps, "text").exec()],
  ])("are RECORD_CORRUPT before anything is granted: %s", async (_, damage) => {
    await abandon();
    await damage(await stepsKey());
    const before = await dumped();
    for (const onAbandoned of ["takeover", "report"] as const) {
      const claim = store.executions.claim(request("second", 60_000, onAbandoned), CALL);
      await expect(claim).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    expect(await dumped()).toEqual(before);
  });

  it("are RECORD_CORRUPT for the holder, whose next step would hide that one was lost", async () => {
    await client.del(await stepsKey());
    const before = await dumped();
    for (const position of [1, 2]) await expect(record(position)).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    expect(await dumped()).toEqual(before);
  });

  it("are RECORD_CORRUPT for a claim that is repeated, whose lease is let again or not", async () => {
    await client.hDel(await stepsKey(), "0b");
    for (const leaseMs of [1, 60_000]) {
      const repeated = store.executions.claim(request("first", leaseMs), CALL);
      await expect(repeated).rejects.toMatchObject({ code: "RECORD_CORRUPT" });
    }
    await store.executions.renew({ id, token, nonce: "first", leaseMs: 1, retentionMs: 60_000 }, CALL);
    await until("the lease has lapsed", async () => {
      const view = await store.executions.get(id, CALL);
      return view?.status === "abandoned";
    });
    const before = await dumped();
    await expect(store.executions.claim(request("first", 60_000), CALL)).rejects.toMatchObject({
      code: "RECORD_CORRUPT",
    });
    expect(await dumped()).toEqual(before);
  });

  it("come back whole where nothing was lost, and are recorded once each", async () => {
    expect(await record(1)).toEqual({ status: "recorded" });
    for (const position of [2, 10]) await record(position);
    await abandon();
    const claim = await store.executions.claim(request("second", 60_000), CALL);
    expect(claim).toMatchObject({ status: "acquired", attempt: 2 });
    expect(claim.status === "acquired" && claim.steps.map(({ position }) => position)).toEqual([0, 1, 2, 10]);
  });
});
