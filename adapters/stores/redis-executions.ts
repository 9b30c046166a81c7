import type { Clock } from "../../src/clock.ts";
import { isEvenkeelError } from "../../src/errors.ts";
import { compareRecency, viewOf } from "../../src/execution-record.ts";
import type {
  CompleteResult,
  ExecutionStore,
  ExecutionView,
  RecordStepResult,
  ReleaseResult,
  RenewResult,
  StoreCall,
} from "../../src/store.ts";
import { ofGrant } from "../../src/unconfirmed-grant.ts";
import { BUCKETS_AT_ONCE, eachWindow } from "./redis-buckets.ts";
import type { DurableCall, RedisConnection, ScriptCall } from "./redis-connection.ts";
import { unavailable } from "./redis-errors.ts";
import { type Answer, answerOf, claimResultOf, seizeResultOf, settledOf } from "./redis-execution-answers.ts";
import { claimArguments, listArguments, optional, releaseArguments } from "./redis-execution-arguments.ts";
import { latestIds } from "./redis-execution-recency.ts";
import { EXECUTION_SCRIPTS as scripts } from "./redis-execution-scripts.ts";
import { bucketOf, type RedisKeys } from "./redis-keys.ts";
import { argumentOf, recordOf, text, whole } from "./redis-rows.ts";
import type { RedisScript } from "./redis-script.ts";
import type { RedisWakeups } from "./redis-wakeups.ts";

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

/** How many of a record's keys scripts need that don't need all: the record, its steps, the index and the token. */
const KEYS_OF: ReadonlyMap<RedisScript, number> = new Map([
  [scripts.get, 1],
  [scripts.step, 2],
  [scripts.renew, 3],
  [scripts.complete, 3],
  [scripts.release, 3],
]);

/** The executions of a Redis ledger: each operation one script. */
export function redisExecutions(options: RedisExecutionsOptions): ExecutionStore {
  const { connection, keys, clock, storeKeys, durability, wakeups } = options;

  const confirmations = durability && connection.confirmations(scripts.touch, durability);

  /** A script names no key that it does not need: while the slot of several moves, they may be on two nodes. */
  const callOf = (script: RedisScript, id: string, args: (string | Buffer)[]): ScriptCall => {
    const bucket = bucketOf(id);
    const all = [keys.steps(id), keys.index(bucket), keys.token(bucket)];
    return { keys: [keys.record(id), ...all.slice(0, (KEYS_OF.get(script) ?? 4) - 1)], args };
  };

  async function run(script: RedisScript, id: string, args: (string | Buffer)[], call: StoreCall): Promise<Answer> {
    return answerOf(await connection.run(script, callOf(script, id, args), call));
  }

  /** Runs a script whose write has to be on replicas too where `tokenOf` says that it stands. */
  async function runDurably(
    script: RedisScript,
    { id, nonce, args }: { readonly id: string; readonly nonce: string; readonly args: (string | Buffer)[] },
    durably: Pick<DurableCall, "tokenOf" | "onAnswer">,
    call: StoreCall,
  ): Promise<Answer> {
    if (durability === undefined || confirmations === undefined) return run(script, id, args, call);
    const touch = { keys: [keys.record(id)] as const, args: [nonce, script === scripts.complete ? "c" : "r"] };
    const durable = { ...durably, touch, confirmations };
    const { answer, replicas } = await connection.runDurably(script, callOf(script, id, args), durable, call);
    if (replicas !== undefined && replicas < durability.replicas) {
      const short = new Error(`${replicas} of ${durability.replicas} replicas confirmed in time`);
      throw unavailable("Too few replicas have the write", short);
    }
    return answerOf(answer);
  }

  /** Runs a script that may grant the record to the nonce: what is granted has to be on replicas. */
  async function grantDurably(
    script: RedisScript,
    asked: { readonly id: string; readonly nonce: string; readonly args: string[] },
    onAnswer: (answer: unknown[]) => void,
    call: StoreCall,
  ): Promise<Answer> {
    const deadline = clock.monotonic() + call.timeoutMs;
    const tokenOf = ([status, , token]: unknown[]) => (isGranted(text(status)) ? text(token) : undefined);
    const answer = await runDurably(script, asked, { tokenOf, onAnswer }, call);
    if (durability === undefined || answer[0] !== "relet") return answer;
    // What was confirmed beside it may have been the lease before, which had the same nonce: asked again, it is this one.
    const timeoutMs = Math.max(1, deadline - clock.monotonic());
    const again = await runDurably(script, asked, { tokenOf, onAnswer }, { timeoutMs });
    if (again[0] !== "relet") return again;
    throw unavailable("The claim's lease lapsed before replicas had it", new Error("leaseMs is too short"));
  }

  async function get(id: string, call: StoreCall): Promise<ExecutionView | undefined> {
    const [status, now, record] = await run(scripts.get, id, [], call);
    return status === "missing" ? undefined : viewOf(recordOf(id, record), whole(now));
  }

  return {
    async claim(request, call) {
      let granted: unknown[] | undefined;
      const onAnswer = (answer: unknown[]): void => {
        if (["acquired", "relet"].includes(text(answer[0]))) granted = answer;
      };
      try {
        const { id, nonce } = request;
        const asked = { id, nonce, args: claimArguments(request, storeKeys) };
        return claimResultOf(await grantDurably(scripts.claim, asked, onAnswer, call));
      } catch (error) {
        const grant = granted && claimResultOf(answerOf(granted));
        throw grant?.status === "acquired" ? ofGrant(error as Error, grant) : error;
      }
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
      const bytes = new Uint8Array(outcome.bytes);
      const args = [String(token), nonce, String(retentionMs), outcome.kind, argumentOf(bytes), keys.channel(id)];
      const tokenOf = ([status]: unknown[]) => (text(status) === "committed" ? String(token) : undefined);
      const answer = await runDurably(scripts.complete, { id, nonce, args }, { tokenOf, onAnswer: () => {} }, call);
      wakeups.wake(id);
      return settledOf(answer, bytes) as CompleteResult;
    },

    async release(request, call) {
      const answer = await run(scripts.release, request.id, releaseArguments(request, keys), call);
      wakeups.wake(request.id);
      return settledOf(answer) as ReleaseResult;
    },

    async recordStep({ id, token, nonce, step }, call) {
      const bytes = argumentOf(new Uint8Array(step.outcome.bytes));
      const args = [String(token), nonce, String(step.position), step.name, step.outcome.kind, bytes];
      const [status] = await run(scripts.step, id, args, call);
      return { status } as RecordStepResult;
    },

    async seize({ id, token, nonce, leaseMs, retentionMs }, call) {
      const asked = { id, nonce, args: [String(token), nonce, String(leaseMs), String(retentionMs)] };
      return seizeResultOf(await grantDurably(scripts.seize, asked, () => {}, call));
    },

    get,

    async list(request, call) {
      const { limit, after = "" } = request;
      const found: ExecutionView[] = [];
      // As wide as what is still wanted fills at the density seen so far, so that a dense ledger is not read for nothing.
      const width = (visited: number): number => {
        if (found.length >= limit) return 0;
        if (found.length === 0) return Math.max(1, visited * 4);
        return Math.max(1, Math.ceil(((limit - found.length) * visited) / found.length));
      };
      await eachWindow(clock, after === "" ? 0 : bucketOf(after), call, width, async (buckets, bounds) => {
        const args = listArguments(request, limit - found.length);
        const pages = await Promise.all(
          buckets.map((bucket) => connection.run(scripts.list, { keys: [keys.index(bucket)], args }, bounds)),
        );
        for (const [id, now, record] of pages.flat() as unknown[][]) {
          const view = viewOf(recordOf(text(id), record), whole(now));
          if (view !== undefined && found.length < limit) found.push(view);
        }
      });
      return found;
    },

    async recent({ limit, operation }, call) {
      const deadline = clock.monotonic() + call.timeoutMs;
      const asked = { limit, operation: optional(operation) };
      const ids = await latestIds({ connection, keys, clock }, asked, call);
      const found: ExecutionView[] = [];
      // What was seen may be gone by now: then the next ones take its place.
      while (found.length < limit && ids.length > 0) {
        const timeoutMs = Math.max(1, deadline - clock.monotonic());
        const page = ids.splice(0, limit - found.length).map((id) => get(id, { timeoutMs }).catch(unlessCorrupt));
        found.push(...(await Promise.all(page)).flatMap((view) => view ?? []));
      }
      return found.sort(compareRecency);
    },

    async purge({ limit }, call) {
      let purged = 0;
      await eachWindow(
        clock,
        0,
        call,
        () => (purged < limit ? BUCKETS_AT_ONCE : 0),
        async (buckets, bounds) => {
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
        },
      );
      return { purged };
    },

    async countExpired(call) {
      let count = 0;
      const width = (): number => BUCKETS_AT_ONCE;
      await eachWindow(clock, 0, call, width, async (buckets, bounds) => {
        const counts = await Promise.all(
          buckets.map((bucket) => connection.run(scripts.expired, { keys: [keys.index(bucket)], args: [] }, bounds)),
        );
        for (const [expired] of counts) count += whole(expired);
      });
      return { count };
    },

    watch: (id, wake) => wakeups.watch(id, wake),
  };
}

function isGranted(status: string): boolean {
  return status === "acquired" || status === "seized";
}

/** One broken record must not hide all others: `get` says of it that it is corrupt. */
function unlessCorrupt(error: unknown): undefined {
  if (!isEvenkeelError(error) || error.code !== "RECORD_CORRUPT") throw error;
}
