import type { Clock } from "../../src/clock.ts";
import { recordCorrupt, viewOf } from "../../src/execution-record.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CompleteResult,
  ExecutionStore,
  ExecutionView,
  ListExecutionsRequest,
  RecordStepResult,
  ReleaseRequest,
  ReleaseResult,
  RenewResult,
  StoreCall,
} from "../../src/store.ts";
import type { RedisConnection } from "./redis-connection.ts";
import { unavailable } from "./redis-errors.ts";
import { EXECUTION_SCRIPTS as scripts } from "./redis-execution-scripts.ts";
import { BUCKETS, bucketOf, type RedisKeys } from "./redis-keys.ts";
import { committedOf, recordOf, stepsOf, text, whole } from "./redis-rows.ts";
import type { RedisScript } from "./redis-script.ts";
import type { RedisWakeups } from "./redis-wakeups.ts";

/** How many buckets are asked at a time: one round trip of a pipeline. */
const BUCKETS_AT_ONCE = 128;

/** How many replicas have to have a claim and an outcome, and how long is waited for them. */
export interface RedisDurability {
  readonly replicas: number;
  readonly timeoutMs: number;
}

export interface RedisExecutionsOptions {
  readonly connection: RedisConnection;
  readonly keys: RedisKeys;
  readonly clock: Clock;
  readonly storeKeys: boolean;
  readonly durability?: RedisDurability | undefined;
  readonly wakeups: RedisWakeups;
}

/** The executions of a Redis ledger: each operation one script. */
export function redisExecutions(options: RedisExecutionsOptions): ExecutionStore {
  const { connection, keys, clock, storeKeys, durability, wakeups } = options;

  const ofRecord = (id: string): [string, string, string, string] => {
    const bucket = bucketOf(id);
    return [keys.record(id), keys.steps(id), keys.index(bucket), keys.token(bucket)];
  };

  async function run(script: RedisScript, id: string, args: (string | Buffer)[], call: StoreCall): Promise<Answer> {
    return answerOf(await connection.run(script, { keys: ofRecord(id), args }, call));
  }

  /** Runs a script whose write has to be on replicas too where the answer says that it stands. */
  async function runDurably(
    script: RedisScript,
    { id, nonce }: { id: string; nonce: string },
    args: (string | Buffer)[],
    stands: string,
    call: StoreCall,
  ): Promise<Answer> {
    if (durability === undefined) return run(script, id, args, call);
    const { replicas, timeoutMs } = durability;
    const durably = {
      touch: scripts.touch,
      call: { keys: [keys.record(id)] as const, args: [nonce] },
      wait: ["WAIT", String(replicas), String(timeoutMs)],
      needsReplicas: ([status]: unknown[]) => text(status) === stands,
    };
    const { answer, replicas: reached } = await connection.runDurably(
      script,
      { keys: ofRecord(id), args },
      durably,
      call,
    );
    if (durably.needsReplicas(answer) && reached < replicas) {
      const short = new Error(`${reached} of ${replicas} replicas confirmed within ${timeoutMs} ms`);
      throw unavailable("Too few replicas have the write", short);
    }
    return answerOf(answer);
  }

  /** Asks buckets from `first` on, as many at a time as `width` says, until it says 0. */
  async function eachWindow(
    first: number,
    call: StoreCall,
    width: (visited: number) => number,
    ask: (buckets: readonly number[], call: StoreCall) => Promise<void>,
  ): Promise<void> {
    const deadline = clock.monotonic() + call.timeoutMs;
    for (let bucket = first; bucket < BUCKETS; ) {
      const count = Math.min(width(bucket - first), BUCKETS_AT_ONCE, BUCKETS - bucket);
      if (count <= 0) return;
      const from = bucket;
      const buckets = Array.from({ length: count }, (_, index) => from + index);
      await ask(buckets, { timeoutMs: Math.max(1, deadline - clock.monotonic()) });
      bucket += count;
    }
  }

  return {
    async claim(request, call) {
      return claimResultOf(
        await runDurably(scripts.claim, request, claimArguments(request, storeKeys), "acquired", call),
      );
    },

    async renew({ id, token, nonce, leaseMs, retentionMs }, call) {
      const args = [String(token), nonce, String(leaseMs), String(retentionMs)];
      const [status, leaseRemainingMs] = await run(scripts.renew, id, args, call);
      if (status === "renewed") return { status, leaseRemainingMs: whole(leaseRemainingMs) };
      return { status } as RenewResult;
    },

    async complete(request, call) {
      const { id, token, nonce, retentionMs, outcome } = request;
      // The driver reads the bytes later: what the caller does to them until then must not get into the ledger.
      const bytes = Buffer.from(outcome.bytes);
      const args = [String(token), nonce, String(retentionMs), outcome.kind, bytes, keys.channel(id)];
      const answer = await runDurably(scripts.complete, request, args, "committed", call);
      wakeups.wake(id);
      return settledOf(answer) as CompleteResult;
    },

    async release(request, call) {
      const answer = await run(scripts.release, request.id, releaseArguments(request, keys), call);
      wakeups.wake(request.id);
      return settledOf(answer) as ReleaseResult;
    },

    async recordStep({ id, token, nonce, step }, call) {
      const bytes = Buffer.from(step.outcome.bytes);
      const args = [String(token), nonce, String(step.position), step.name, step.outcome.kind, bytes];
      const [status] = await run(scripts.step, id, args, call);
      return { status } as RecordStepResult;
    },

    async get(id, call) {
      const fields = await run(scripts.get, id, [], call);
      if (fields[0] === "missing") return undefined;
      const { record, nowMs } = recordOf(id, fields);
      return viewOf(record, nowMs);
    },

    async list(request, call) {
      const { limit, after = "" } = request;
      const found: ExecutionView[] = [];
      // As wide as what is still wanted fills at the density seen so far, so that a dense ledger is not read for nothing.
      const width = (visited: number): number => {
        if (found.length >= limit) return 0;
        if (found.length === 0) return Math.max(1, visited * 4);
        return Math.max(1, Math.ceil(((limit - found.length) * visited) / found.length));
      };
      await eachWindow(after === "" ? 0 : bucketOf(after), call, width, async (buckets, bounds) => {
        const args = listArguments(request, limit - found.length);
        const pages = await Promise.all(
          buckets.map((bucket) => connection.run(scripts.list, { keys: [keys.index(bucket)], args }, bounds)),
        );
        for (const fields of pages.flat() as unknown[][]) {
          const { record, nowMs } = recordOf(text(fields.at(-1)), fields);
          const view = viewOf(record, nowMs);
          if (view !== undefined && found.length < limit) found.push(view);
        }
      });
      return found;
    },

    async purge({ limit }, call) {
      let purged = 0;
      const width = (): number => (purged < limit ? BUCKETS_AT_ONCE : 0);
      await eachWindow(0, call, width, async (buckets, bounds) => {
        const counts = await Promise.all(
          buckets.map((bucket) => connection.run(scripts.expired, { keys: [keys.index(bucket)], args: [] }, bounds)),
        );
        let left = limit - purged;
        const due = buckets.flatMap((bucket, at) => {
          const count = Math.min(whole(counts[at]?.[0]), left);
          left -= count;
          return count === 0 ? [] : [{ bucket, count }];
        });
        const done = await Promise.all(
          due.map(({ bucket, count }) =>
            connection.run(scripts.purge, { keys: [keys.index(bucket)], args: [String(count)] }, bounds),
          ),
        );
        for (const [count] of done) purged += whole(count);
      });
      return { purged };
    },

    watch: (id, wake) => wakeups.watch(id, wake),
  };
}

/** An answer whose first part has been read as a text. */
type Answer = readonly [status: string, ...rest: unknown[]];

/** @throws EvenkeelError `RECORD_CORRUPT`, as the script says. */
function answerOf([first, ...rest]: unknown[]): Answer {
  const status = text(first);
  if (status === "corrupt") throw recordCorrupt(text(rest[0]));
  return [status, ...rest];
}

function claimArguments(request: ClaimRequest, storeKeys: boolean): string[] {
  const { nonce, leaseMs, retentionMs, onAbandoned, operation, scope, key, fingerprint } = request;
  const known = [storeKeys ? optional(key) : "", optional(fingerprint)];
  return [nonce, String(leaseMs), String(retentionMs), onAbandoned, operation, scope, ...known];
}

function releaseArguments({ id, token, nonce, as }: ReleaseRequest, keys: RedisKeys): string[] {
  const holder = [String(token), nonce, as.mode];
  if (as.mode === "forget") return [...holder, "", "", "", keys.channel(id)];
  const leaseExpiredAt = as.mode === "abandon" ? as.leaseExpiredAt : undefined;
  const since = optional(leaseExpiredAt === undefined ? undefined : String(leaseExpiredAt));
  return [...holder, String(as.attempt), String(as.retentionMs), since, keys.channel(id)];
}

function listArguments({ operation, status, after = "" }: ListExecutionsRequest, limit: number): string[] {
  return [after, String(limit), optional(operation), status ?? ""];
}

/** Told apart from a text that is empty. */
function optional(value: string | undefined): string {
  return value === undefined ? "" : `=${value}`;
}

function claimResultOf(answer: Answer): ClaimResult {
  const [status, ...rest] = answer;
  switch (status) {
    case "acquired": {
      const [attempt, token, leaseRemainingMs, abandonedAt, ...steps] = rest;
      return {
        status,
        attempt: whole(attempt),
        token: whole(token),
        leaseRemainingMs: whole(leaseRemainingMs),
        ...(abandonedAt === null || abandonedAt === undefined ? {} : { abandonedAt: whole(abandonedAt) }),
        steps: stepsOf(steps),
      };
    }
    case "completed":
      return { status, ...committedOf(answer) };
    case "running":
      return { status, attempt: whole(rest[0]), leaseRemainingMs: whole(rest[1]) };
    case "abandoned": {
      const [attempt, leaseExpiredAt, ...steps] = rest;
      return { status, attempt: whole(attempt), leaseExpiredAt: whole(leaseExpiredAt), steps: stepsOf(steps) };
    }
    default:
      return { status: "mismatch" };
  }
}

function settledOf(answer: Answer): CompleteResult | ReleaseResult {
  const [status] = answer;
  if (status === "committed" || status === "finalized") return { status, ...committedOf(answer) };
  return { status } as CompleteResult | ReleaseResult;
}
