import { createHash, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NodeRedis, type RedisStoreOptions, redisStore } from "../../../adapters/stores/redis.ts";
import { TOUCH } from "../../../adapters/stores/redis-execution-touch.ts";
import { withIdempotency } from "../../../src/index.ts";
import type { LedgerStore } from "../../../src/store.ts";
import { askRedis } from "../../support/ask-redis.ts";
import { describeRedisServers } from "../../support/engines.ts";
import { drivers } from "../../support/redis-clients.ts";
import { type RedisServer, startRedis } from "../../support/redis-server.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const id = "ab".repeat(32);
const outcome = { kind: "value", bytes: Buffer.from("x") } as const;

function request(nonce: string, leaseMs = 60_000) {
  return { id, operation: "o", scope: "", nonce, leaseMs, retentionMs: 60_000, onAbandoned: "takeover" } as const;
}

/** Calls `before` when a client of `redis` sends a script with its text, which it does when the server does not know it. */
function beforeEval(client: unknown, before: () => Promise<void>): void {
  const sender = client as { sendCommand(args: unknown[], ...more: unknown[]): Promise<unknown> };
  const send = sender.sendCommand.bind(sender);
  sender.sendCommand = async (args, ...more) => {
    if (args[0] === "EVAL") await before();
    return send(args, ...more);
  };
}

describeRedisServers("redisStore with replicas", () => {
  let primary: RedisServer;
  let replica: RedisServer;
  beforeAll(async () => {
    primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
    replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
    await replicates();
  });
  afterAll(async () => {
    await replica?.stop();
    await primary?.stop();
  });

  async function using(
    [{ open }, options]: [(typeof drivers)[number], RedisStoreOptions],
    body: (store: LedgerStore, client: unknown) => Promise<void>,
  ): Promise<void> {
    const { client, close } = await open(primary.url);
    const store = redisStore(client, { keyPrefix: `${randomUUID()}:`, ...options });
    try {
      await body(store, client);
    } finally {
      await store.close();
      await close();
    }
  }

  /** A replica that has just come up takes a while until it tells how far it is. */
  const replicates = (): Promise<void> =>
    using([drivers[0], { durability: { replicas: 1, timeoutMs: 1_000 } }], ({ executions }) =>
      until("it replicates", async () => (await executions.claim(request("n"), CALL)).status === "acquired"),
    );

  /** Until then what is sent beside a script has been answered. */
  const pauseReplica = async (): Promise<void> => {
    await until("WAIT was answered", async () => (await waits()) > 0);
    replica.pause();
  };

  it.each(["complete", "relet"] as const)(
    "takes no write for durable that came behind its confirmation: %s",
    async (what) => {
      await using([drivers[0], { durability: { replicas: 1, timeoutMs: 1_000 } }], async ({ executions }, client) => {
        const claim = await executions.claim(request("n", what === "relet" ? 1 : 60_000), CALL);
        if (claim.status !== "acquired") throw new Error(claim.status);
        const { token } = claim;
        await askRedis(primary.port, "SCRIPT FLUSH");
        // What confirms is known, and so comes first.
        await (client as NodeRedis).sendCommand(["SCRIPT", "LOAD", TOUCH.text]);
        await askRedis(primary.port, "CONFIG RESETSTAT");
        beforeEval(client, pauseReplica);
        try {
          const write =
            what === "relet"
              ? executions.claim(request("n"), CALL)
              : executions.complete({ id, nonce: "n", token, retentionMs: 60_000, outcome }, CALL);
          await expect(write).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
        } finally {
          replica.resume();
        }
        // With the replica there, the repetition is confirmed.
        const status = what === "relet" ? "acquired" : "committed";
        const again = (): Promise<{ status: string }> =>
          what === "relet"
            ? executions.claim(request("n"), CALL)
            : executions.complete({ id, nonce: "n", token, retentionMs: 60_000, outcome }, CALL);
        await until("it is confirmed", async () => (await again()).status === status);
      });
    },
  );

  const waits = async (): Promise<number> =>
    Number(/cmdstat_wait:calls=(\d+)/.exec(await askRedis(primary.port, "INFO commandstats"))?.[1] ?? 0);

  describe.each(drivers)("by $driver", (driver) => {
    it("waits for missing replicas once for many calls, and holds up no replay", async () => {
      await using([driver, { durability: { replicas: 1, timeoutMs: 1_000 } }], async ({ executions }) => {
        const done = await executions.claim(request("n"), CALL);
        if (done.status !== "acquired") throw new Error(done.status);
        const { token } = done;
        await executions.complete({ id, nonce: "n", token, retentionMs: 60_000, outcome }, CALL);
        replica.pause();
        try {
          await askRedis(primary.port, "CONFIG RESETSTAT");
          const others = Array.from({ length: 20 }, (_, n) => createHash("sha256").update(`${n}`).digest("hex"));
          const claims = others.map((other) => executions.claim({ ...request("n"), id: other }, CALL));
          for (const { reason } of (await Promise.allSettled(claims)) as PromiseRejectedResult[]) {
            expect(reason).toMatchObject({ message: "Too few replicas have the write." });
          }
          // The second is for those whose first came before what it confirms.
          expect(await waits()).toBeLessThanOrEqual(2);
          await askRedis(primary.port, "CONFIG RESETSTAT");
          const replays = Array.from({ length: 20 }, (_, n) => executions.claim(request(`m${n}`), CALL));
          for (const { status } of await Promise.all(replays)) expect(status).toBe("completed");
          expect(await waits()).toBe(0);
        } finally {
          replica.resume();
        }
        await until("it is confirmed", async () => {
          const again = await executions.claim({ ...request("n"), id: "ef".repeat(32) }, CALL);
          return again.status === "acquired";
        });
        await askRedis(primary.port, "CONFIG RESETSTAT");
        expect(await executions.claim(request("o"), CALL)).toMatchObject({ status: "completed" });
        // Sent beside it again.
        await until("WAIT was answered", async () => (await waits()) === 1);
      });
    });

    it("takes nothing for seized that replicas don't have, and has seized it once they do", async () => {
      await using([driver, { durability: { replicas: 1, timeoutMs: 300 } }], async ({ executions }) => {
        const claim = await executions.claim(request("n"), CALL);
        if (claim.status !== "acquired") throw new Error(claim.status);
        const seizure = { id, token: claim.token, nonce: "operator", leaseMs: 60_000, retentionMs: 60_000 };
        replica.pause();
        try {
          await expect(executions.seize(seizure, CALL)).rejects.toMatchObject({
            code: "STORE_UNAVAILABLE",
            cause: { message: "0 of 1 replicas confirmed in time" },
          });
        } finally {
          replica.resume();
        }
        const again = (): Promise<unknown> => executions.seize(seizure, CALL).catch(() => undefined);
        let seized: unknown;
        await until("it is confirmed", async () => {
          seized = await again();
          return seized !== undefined;
        });
        const view = await executions.get(id, CALL);
        expect(seized).toMatchObject({ status: "seized", token: view?.token, attempt: 1 });
        expect(view?.token).toBeGreaterThan(claim.token);
      });
    });

    it("keeps no key for a claim that was not confirmed", async () => {
      await using([driver, { durability: { replicas: 1, timeoutMs: 200 } }], async (store) => {
        const options = { store, operation: "o", inFlight: "wait", maxWaitMs: 5_000 } as const;
        const bounded = (storeTimeoutMs: number) =>
          withIdempotency((input: string) => input, { ...options, storeTimeoutMs });
        const [once, onceInVain] = [bounded(CALL.timeoutMs), bounded(500)];
        await once("warm-up", { key: "warm-up" });
        replica.pause();
        try {
          await expect(onceInVain("input", { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
          // The last try would be confirmed, and then undone, if the replica came back before.
          await until("no try is under way", async () =>
            (await askRedis(primary.port, "INFO clients")).includes("blocked_clients:0"),
          );
        } finally {
          replica.resume();
        }
        expect(await once.run("input", { key: "k" })).toMatchObject({ replayed: false, attempt: 1 });
      });
    });

    it("answers nothing from a server that was demoted", async () => {
      await using([driver, {}], async (store) => {
        const { executions, leases, resources } = store;
        const claim = await executions.claim(request("n"), CALL);
        if (claim.status !== "acquired") throw new Error(claim.status);
        const { token } = claim;
        const holder = { id, token, nonce: "n" };
        const absent = { ...holder, id: "cd".repeat(32) };
        await leases.acquire({ name: "l", holder: "h", nonce: "n", durationMs: 60_000 }, CALL);
        await resources.setDesired({ group: "g", epoch: 0, nonce: "n", desired: "1" }, CALL);
        await askRedis(primary.port, "REPLICAOF 127.0.0.1 1");
        try {
          const retentionMs = 60_000;
          const asked: Record<string, () => Promise<unknown>> = {
            get: () => executions.get(id, CALL),
            list: () => executions.list({ limit: 1 }, CALL),
            purge: () => executions.purge({ limit: 1 }, CALL),
            claim: () => executions.claim(request("other"), CALL),
            renew: () => executions.renew({ ...absent, leaseMs: 1, retentionMs }, CALL),
            complete: () => executions.complete({ ...absent, retentionMs, outcome }, CALL),
            release: () => executions.release({ ...absent, as: { mode: "forget" } }, CALL),
            step: () => executions.recordStep({ ...absent, step: { position: 0, name: "s", outcome } }, CALL),
            seize: () => executions.seize({ ...absent, leaseMs: 1, retentionMs }, CALL),
            recent: () => executions.recent({ limit: 1 }, CALL),
            expired: () => executions.countExpired(CALL),
            leaseOf: () => leases.get("l", CALL),
            leases: () => leases.list("", CALL),
            acquire: () => leases.acquire({ name: "l", holder: "b", nonce: "m", durationMs: 1 }, CALL),
            renewLease: () => leases.renew({ name: "none", holder: "b", epoch: 1, durationMs: 1 }, CALL),
            releaseLease: () => leases.release({ name: "none", holder: "b", epoch: 1 }, CALL),
            desired: () => resources.getDesired("g", CALL),
            resource: () => resources.get("g", "id", CALL),
            resources: () => resources.list({ group: "g", limit: 1 }, CALL),
            changes: () => resources.changedSince({ group: "g", limit: 1 }, CALL),
            stale: () => resources.staleBefore({ group: "g", ageMs: 1, limit: 1 }, CALL),
            beat: () => resources.heartbeat({ group: "g", beats: [{ id: "id" }] }, CALL),
            fenced: () => resources.apply({ group: "g", epoch: 0, writes: [] }, CALL),
            purgeRows: () => resources.purge({ group: "g", ageMs: 1, limit: 1 }, CALL),
            groups: () => resources.listGroups({ limit: 1 }, CALL),
          };
          for (const [name, ask] of Object.entries(asked)) {
            const answer = await ask().catch((error: unknown) => error);
            expect(answer, name).toMatchObject({ code: "STORE_UNAVAILABLE", cause: expect.anything() });
          }
        } finally {
          await askRedis(primary.port, "REPLICAOF NO ONE");
        }
        await until("it is back", async () => (await executions.get(id, CALL)) !== undefined);
        await replicates();
      });
    });
  });
});
