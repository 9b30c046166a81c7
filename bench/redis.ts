import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LedgerStore, withIdempotency } from "evenkeel";
import { redisStore } from "evenkeel/redis";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { printLines, type Subject } from "./lines.ts";

const TTL_MS = 3_600_000;
const CALL = { timeoutMs: 5_000 };

const input = { account: "alice", amount: 1_000 };
const receipt = { id: "ch_1", amount: 1_000, currency: "EUR", lines: ["one", "two"] };
const folder = mkdtempSync(join(tmpdir(), "evenkeel-bench-"));
// As far as this goes it is the network and the server's time that count: nothing is written to a disk.
const server = spawn("redis-server", ["--port", "0", "--unixsocket", join(folder, "redis"), "--save", ""], {
  stdio: "ignore",
});
await once(server, "spawn");
let calls = 0;

/** What somebody would write who needs no lease, no fingerprint and no fencing: two commands, or one. */
function raw(
  engine: string,
  commands: { claim(key: string): Promise<string | null>; store(key: string, outcome: string): Promise<unknown> },
): Subject {
  const known = commands.store("known", JSON.stringify(receipt));
  return {
    engine,
    what: "raw SET NX GET, SET",
    async firstCall() {
      const key = `key-${++calls}`;
      await commands.claim(key);
      await commands.store(key, JSON.stringify(receipt));
      return receipt;
    },
    async replay() {
      await known;
      return JSON.parse((await commands.claim("known")) ?? "null");
    },
  };
}

/** The store alone: what a call asks of it, without the function, the digests and the attempt around it. */
function storeOf(engine: string, store: LedgerStore): Subject {
  const bytes = Buffer.from(JSON.stringify(receipt));
  const request = (key: string) => ({
    ...{
      id: createHash("sha256").update(key).digest("hex"),
      operation: "alone",
      scope: "",
      key,
      fingerprint: "f".repeat(43),
    },
    ...{ nonce: `nonce-of-${key}`, leaseMs: 30_000, retentionMs: TTL_MS, onAbandoned: "report" as const },
  });
  const execute = async (key: string): Promise<unknown> => {
    const asked = request(key);
    const claim = await store.executions.claim(asked, CALL);
    if (claim.status !== "acquired") return claim;
    const { id, nonce, retentionMs } = asked;
    return store.executions.complete(
      { id, nonce, retentionMs, token: claim.token, outcome: { kind: "value", bytes } },
      CALL,
    );
  };
  return {
    engine,
    what: "evenkeel's store alone",
    firstCall: () => execute(`key-${++calls}`),
    replay: () => execute("known"),
  };
}

function evenkeelOn(engine: string, store: LedgerStore): Subject {
  const charge = withIdempotency(() => receipt, { store, operation: "charge" });
  return {
    engine,
    what: "evenkeel",
    firstCall: () => charge(input, { key: `key-${++calls}` }),
    replay: () => charge(input, { key: "known" }),
  };
}

try {
  const path = join(folder, "redis");
  const nodeRedis = createClient({ socket: { path, tls: false, reconnectStrategy: () => 20 } });
  await nodeRedis.on("error", () => {}).connect();
  const ioredis = new Redis(path);
  const expiration = { type: "PX", value: TTL_MS } as const;
  const stores = [nodeRedis, ioredis].map((client) => redisStore(client as never, { keyPrefix: `${randomUUID()}:` }));
  const [ofNodeRedis, ofIoredis] = stores as [LedgerStore, LedgerStore];
  await printLines([
    raw("Redis by node-redis", {
      claim: (key) => nodeRedis.set(key, "running", { condition: "NX", GET: true, expiration }),
      store: (key, outcome) => nodeRedis.set(key, outcome, { expiration }),
    }),
    storeOf("Redis by node-redis", ofNodeRedis),
    evenkeelOn("Redis by node-redis", ofNodeRedis),
    raw("Redis by ioredis", {
      claim: (key) => ioredis.set(key, "running", "PX", TTL_MS, "NX", "GET"),
      store: (key, outcome) => ioredis.set(key, outcome, "PX", TTL_MS),
    }),
    storeOf("Redis by ioredis", ofIoredis),
    evenkeelOn("Redis by ioredis", ofIoredis),
  ]);
  await Promise.all(stores.map((store) => store.close()));
  nodeRedis.destroy();
  ioredis.disconnect();
} finally {
  server.kill();
  rmSync(folder, { recursive: true, force: true });
}
