import { recordCorrupt } from "../../src/execution-record.ts";
import type { LeaseStore, LeaseView, ReleaseLeaseResult, RenewLeaseResult, StoreCall } from "../../src/store.ts";
import type { RedisConnection, ScriptCall } from "./redis-connection.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { LEASE_SCRIPTS as scripts } from "./redis-lease-scripts.ts";
import { assertNames } from "./redis-names.ts";
import { text, whole } from "./redis-rows.ts";
import type { RedisScript } from "./redis-script.ts";

/** How long a lease that lapsed is kept for nobody but `renew`, which tells a lease that was lost from one that never was. */
const KEPT_AFTER_LAPSE_MS = 86_400_000;

export interface RedisLeasesOptions {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
}

/** The leases of a Redis ledger: each operation one script. */
export function redisLeases({ connection, keys }: RedisLeasesOptions): LeaseStore {
  /** A script names no key that it does not need: while the slot of several moves, they may be on two nodes. */
  const keysOf = (script: RedisScript): ScriptCall["keys"] => {
    if (script === scripts.get) return [keys.leases];
    return [keys.leases, keys.leaseIndex, ...(script === scripts.acquire ? [keys.epoch] : [])];
  };

  /** @param name - Of a lease, or what the names of several begin with. */
  async function ask(script: RedisScript, [name, ...args]: [string, ...string[]], call: StoreCall): Promise<unknown[]> {
    assertNames("redisStore.leases", "names", name);
    return connection.run(script, { keys: keysOf(script), args: [name, ...args] }, call);
  }

  async function run(script: RedisScript, args: [string, ...string[]], call: StoreCall): Promise<unknown[]> {
    return intact(await ask(script, args, call));
  }

  return {
    async acquire({ name, holder, nonce, durationMs }, call) {
      const lasting = [String(durationMs), String(KEPT_AFTER_LAPSE_MS)];
      const answer = await run(scripts.acquire, [name, packed(holder), packed(nonce), ...lasting], call);
      if (text(answer[0]) === "held") return { status: "held", ...viewOf(answer) };
      return { status: "acquired", epoch: whole(answer[1]), remainingMs: whole(answer[2]) };
    },

    async renew({ name, holder, epoch, durationMs }, call) {
      const held = [packed(holder), String(epoch), String(durationMs)];
      const [status, remainingMs] = await run(scripts.renew, [name, ...held], call);
      if (text(status) === "renewed") return { status: "renewed", remainingMs: whole(remainingMs) };
      return { status: text(status) } as RenewLeaseResult;
    },

    async release({ name, holder, epoch }, call) {
      const [status] = await run(scripts.release, [name, packed(holder), String(epoch)], call);
      return { status: text(status) } as ReleaseLeaseResult;
    },

    async get(name, call) {
      const answer = await run(scripts.get, [name], call);
      return text(answer[0]) === "missing" ? undefined : viewOf(answer);
    },

    async list(prefix, call) {
      const answers = await ask(scripts.list, [prefix], call);
      const views = answers.map((answer) => viewOf(answer as unknown[]));
      return views.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    },
  };
}

/** @throws EvenkeelError `RECORD_CORRUPT`, as the script says. */
function intact(answer: unknown[]): unknown[] {
  if (text(answer[0]) === "corrupt") throw recordCorrupt(text(answer[1]));
  return answer;
}

function packed(value: string): string {
  return Buffer.from(value, "utf8").toString("base64url");
}

function viewOf([, name, holder, epoch, renewals, durationMs, remainingMs]: readonly unknown[]): LeaseView {
  return {
    name: text(name),
    holder: Buffer.from(text(holder), "base64url").toString("utf8"),
    epoch: whole(epoch),
    renewals: whole(renewals),
    durationMs: whole(durationMs),
    remainingMs: whole(remainingMs),
  };
}
