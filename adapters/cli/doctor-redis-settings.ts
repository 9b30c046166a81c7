import { type Check, FINE, found, type Verdict } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";

/** Names and values, or why they are not told. */
export type Told = ReadonlyMap<string, string> | { readonly denied: string };

/** What a server told of itself. */
export interface RedisSettings {
  /** The fields of INFO. */
  readonly info: Told;
  /** The settings of CONFIG GET, which managed services deny. */
  readonly config: Told;
  readonly limits: DoctorLimits;
}

/** What can be said of a server by its INFO and its settings. */
export const REDIS_SETTING_CHECKS: readonly Check<RedisSettings>[] = [
  { id: "redis-version", look: version },
  { id: "redis-role", look: role },
  { id: "redis-eviction", look: eviction },
  { id: "redis-evicted", look: evicted },
  { id: "redis-memory", look: memory },
  { id: "redis-persistence", look: persistence },
  { id: "redis-appendfsync", look: appendfsync },
  { id: "redis-last-save", look: lastSave },
  { id: "redis-replicas", look: replicas },
];

function version({ info }: RedisSettings): Verdict {
  const text = ofTold(info, "redis_version");
  if (text === undefined) return notTold(info, "INFO");
  const [major = 0, minor = 0] = text.split(".").map(Number);
  if (major > 6 || (major === 6 && minor >= 2)) return FINE;
  return found("error", `Redis is of version ${text}; the store needs 6.2`, "upgrade Redis to 6.2 or later");
}

function role({ info }: RedisSettings): Verdict {
  const mode = ofTold(info, "redis_mode");
  if (mode === undefined) return notTold(info, "INFO");
  if (mode === "sentinel") {
    return found(
      "error",
      "the URL leads to a Sentinel, which holds no data",
      "name the primary: `redis-cli -p 26379 SENTINEL GET-MASTER-ADDR-BY-NAME NAME` tells where it is",
    );
  }
  if (ofTold(info, "role") === "slave") {
    return found(
      "error",
      "the URL leads to a replica, which lags behind and takes no writes",
      `name the primary${primaryOf(info)}`,
    );
  }
  if (mode === "cluster") {
    return found(
      "hint",
      "the server is a node of a cluster: this command asks one node only, and a failover can lose what was acknowledged",
      "give each store `durability: { replicas, timeoutMs }`, and look at every node's settings",
    );
  }
  return FINE;
}

function primaryOf(info: Told): string {
  const host = ofTold(info, "master_host");
  return host === undefined ? "" : `: ${host}:${ofTold(info, "master_port")}`;
}

function eviction({ info, config }: RedisSettings): Verdict {
  const policy = ofTold(info, "maxmemory_policy") ?? ofTold(config, "maxmemory-policy");
  if (policy === undefined) return notTold(config, "CONFIG GET maxmemory-policy");
  if (policy === "noeviction") return FINE;
  return found(
    "error",
    `maxmemory-policy is ${policy}: a record that Redis evicts runs twice`,
    "set `maxmemory-policy noeviction`: `redis-cli CONFIG SET maxmemory-policy noeviction`, and in redis.conf",
  );
}

function evicted({ info }: RedisSettings): Verdict {
  const count = ofTold(info, "evicted_keys");
  if (count === undefined) return notTold(info, "INFO");
  if (Number(count) === 0) return FINE;
  return found(
    "error",
    `Redis has evicted ${count} keys since it started: records of this ledger may be among them, and run twice`,
    "set `maxmemory-policy noeviction`, give Redis more memory, and keep caches in a server of their own",
  );
}

function memory({ info, limits }: RedisSettings): Verdict {
  const used = Number(ofTold(info, "used_memory"));
  const most = Number(ofTold(info, "maxmemory"));
  const total = Number(ofTold(info, "total_system_memory"));
  if (Number.isNaN(used) || Number.isNaN(most)) return notTold(info, "INFO");
  const bound = most > 0 ? most : total;
  if (!(bound > 0)) return { unknown: "INFO tells no total_system_memory" };
  const share = used / bound;
  if (share <= limits.memoryShare) return FINE;
  const of = most > 0 ? "maxmemory" : "the machine's memory";
  return found(
    share > 0.95 ? "error" : "warning",
    `${Math.round(share * 100)} % of ${of} is used: once it is full nothing runs any more`,
    "give Redis more memory, shorten `retentionMs`, or set `maxResultBytes`",
  );
}

function persistence({ info, config }: RedisSettings): Verdict {
  const aof = ofTold(info, "aof_enabled");
  if (aof === undefined) return notTold(info, "INFO");
  if (aof === "1") {
    if (ofTold(info, "aof_last_write_status") === "ok") return FINE;
    return found(
      "error",
      "Redis could not write its append-only file: what it acknowledges is not on the disk",
      "make room on its disk, and read its log",
    );
  }
  const saves = ofTold(config, "save");
  if (saves === "") {
    return found(
      "error",
      "Redis keeps nothing on the disk: a restart forgets every record, and what was done runs again",
      "set `appendonly yes`: `redis-cli CONFIG SET appendonly yes`, and in redis.conf",
    );
  }
  return found(
    "warning",
    "appendonly is no: a crash of Redis forgets what happened since its last snapshot, which then runs again",
    "set `appendonly yes`: `redis-cli CONFIG SET appendonly yes`, and in redis.conf",
  );
}

function appendfsync({ info, config }: RedisSettings): Verdict {
  if (ofTold(info, "aof_enabled") === "0") return FINE;
  const mode = ofTold(config, "appendfsync");
  if (mode === undefined) return notTold(config, "CONFIG GET appendfsync");
  switch (mode) {
    case "always":
      return FINE;
    case "everysec":
      return found(
        "hint",
        "appendfsync is everysec: a crash of Redis loses nothing, a loss of power up to two seconds",
        "set `appendfsync always` where power may fail: `redis-cli CONFIG SET appendfsync always`",
      );
    default:
      return found(
        "warning",
        `appendfsync is ${mode}: a loss of power takes what the system had not written, half a minute or more`,
        "set `appendfsync always`, or `everysec` where a second may be lost",
      );
  }
}

function lastSave({ info }: RedisSettings): Verdict {
  const status = ofTold(info, "rdb_last_bgsave_status");
  if (status === undefined) return notTold(info, "INFO");
  if (status === "ok" && (ofTold(info, "aof_last_bgrewrite_status") ?? "ok") === "ok") return FINE;
  return found(
    "error",
    "the last snapshot of Redis, or the last rewrite of its append-only file, failed; with stop-writes-on-bgsave-error it refuses writes",
    "make room on its disk and memory for a fork (`vm.overcommit_memory = 1`), read its log, and run `redis-cli BGSAVE`",
  );
}

function replicas({ info, config }: RedisSettings): Verdict {
  const connected = ofTold(info, "connected_slaves");
  if (connected === undefined) return notTold(info, "INFO");
  const good = ofTold(info, "min_slaves_good_slaves");
  const wanted = ofTold(config, "min-replicas-to-write");
  // INFO has the first only where the second is set.
  if (good !== undefined && wanted !== undefined && Number(good) < Number(wanted)) {
    return found(
      "error",
      `${good} replicas keep up and min-replicas-to-write is ${wanted}: Redis refuses every write`,
      "bring the replicas back, and read `redis-cli INFO replication`",
    );
  }
  if (Number(connected) === 0) return FINE;
  if (wanted === undefined) return notTold(config, "CONFIG GET min-replicas-to-write");
  if (Number(wanted) > 0) return FINE;
  return found(
    "warning",
    `Redis has ${connected} replicas and min-replicas-to-write 0: a primary that is cut off goes on acknowledging what a failover loses`,
    "set `min-replicas-to-write 1` and `min-replicas-max-lag 10`, and give the stores `durability: { replicas: 1, timeoutMs: 1000 }`",
  );
}

function ofTold(told: Told, name: string): string | undefined {
  return "denied" in told ? undefined : told.get(name);
}

function notTold(told: Told, command: string): Verdict {
  return { unknown: "denied" in told ? `${command} is denied: ${told.denied}` : `${command} does not tell` };
}
