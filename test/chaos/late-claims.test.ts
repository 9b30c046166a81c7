import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withIdempotency } from "../../src/index.ts";
import { describePostgresServers, describeRedisServers } from "../support/engines.ts";
import { type OpenLedger, openLedger } from "../support/open-ledger.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { startRedis } from "../support/redis-server.ts";
import { endServers } from "../support/server-process.ts";
import { until } from "../support/until.ts";

/** Longer than the test: a claim that nobody gives back stays in the way until its end. */
const LEASE_MS = 60_000;
/** Of a call that is to succeed, however busy the machine is; the first one makes the ledger. */
const PATIENT_MS = 20_000;
/** Of a call that nobody serves. */
const UNSERVED_MS = 1_000;

interface StoppableEngine {
  readonly url: string;
  pause(): void;
  resume(): void;
}

function describeLateClaims(start: () => Promise<StoppableEngine>): void {
  describe("a claim that is granted when its caller has given up", () => {
    let engine: StoppableEngine;
    let ledger: OpenLedger;

    beforeEach(async () => {
      engine = await start();
      ledger = await openLedger(engine.url);
    });

    afterEach(async () => {
      engine.resume();
      await ledger.close();
      await endServers();
    });

    it.each(["takeover", "reject"] as const)(
      "is given back, so that its key is free (I13, I19), %s",
      async (onAbandoned) => {
        let runs = 0;
        const options = { store: ledger.store, operation: "pay", leaseMs: LEASE_MS, onAbandoned };
        const bounded = (storeTimeoutMs: number) =>
          withIdempotency(async (_: object) => ++runs, { ...options, storeTimeoutMs });
        const [pay, payInVain] = [bounded(PATIENT_MS), bounded(UNSERVED_MS)];
        await pay({}, { key: "warm-up" });
        engine.pause();
        await expect(payInVain({}, { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
        engine.resume();
        // What was sent while it stood still is carried out now.
        await until("the key is free again", () =>
          pay.run({}, { key: "k" }).then(
            ({ attempt, replayed }) => attempt === 1 && !replayed,
            () => false,
          ),
        );
        expect(runs).toBe(2);
      },
    );
  });
}

describeRedisServers("a Redis that stood still", () => {
  describeLateClaims(() => startRedis());
});

describePostgresServers("a PostgreSQL that stood still", () => {
  describeLateClaims(() => startPostgres());
});
