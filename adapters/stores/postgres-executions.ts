import type { ExecutionStore, ListExecutionsRequest, ReleaseRequest, StoreCall } from "../../src/store.ts";
import { claimResultOf, committedOf, type ExecutionAnswer, readable, viewOfAnswer } from "./postgres-answers.ts";
import type { LedgerStatement, PostgresConnection } from "./postgres-connection.ts";
import type { PostgresNotifications } from "./postgres-notifications.ts";
import { type RecordAnswer, recordOperation } from "./postgres-operations.ts";
import { RecordQueue } from "./postgres-queue.ts";
import { assertStorable } from "./postgres-texts.ts";
import { completeWithin } from "./postgres-transaction.ts";

/** How many expired records one statement deletes. */
const PURGED_AT_ONCE = 1_000;

const HOLDER = { id: "text", token: "bigint", nonce: "text" } as const;

const OPERATIONS = {
  claim: recordOperation(
    "claim",
    {
      id: "text",
      operation: "text",
      scope: "text",
      key: "text",
      fingerprint: "text",
      nonce: "text",
      lease_ms: "bigint",
      retention_ms: "bigint",
      takeover: "boolean",
    },
    { answersOutcomes: true },
  ),
  renew: recordOperation("renew", { ...HOLDER, lease_ms: "bigint", retention_ms: "bigint" }),
  complete: recordOperation(
    "complete",
    { ...HOLDER, kind: "text", retention_ms: "bigint", channel: "text" },
    { bytes: true },
  ),
  release: recordOperation("release", {
    ...HOLDER,
    mode: "text",
    attempt: "bigint",
    lease_expired_at: "bigint",
    retention_ms: "bigint",
    channel: "text",
  }),
  recordStep: recordOperation(
    "record_step",
    { ...HOLDER, position: "bigint", name: "text", kind: "text" },
    { bytes: true },
  ),
  seize: recordOperation("seize", { ...HOLDER, lease_ms: "bigint", retention_ms: "bigint" }, { answersOutcomes: true }),
  get: recordOperation("get", { id: "text" }, { answersOutcomes: true }),
} as const;

export interface PostgresExecutionsOptions {
  readonly connection: PostgresConnection;
  readonly notifications: PostgresNotifications;
  readonly storeKeys: boolean;
}

/** The executions of a PostgreSQL ledger: the decisions are the database's, see `postgres-executions-schema.ts`. */
export function postgresExecutions(options: PostgresExecutionsOptions): ExecutionStore {
  const { connection, notifications, storeKeys } = options;
  const queues = {
    claim: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.claim),
    renew: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.renew),
    complete: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.complete),
    release: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.release),
    recordStep: new RecordQueue<RecordAnswer>(connection, OPERATIONS.recordStep),
    seize: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.seize),
    get: new RecordQueue<ExecutionAnswer>(connection, OPERATIONS.get),
  } as const;

  /** Where others are told, if they are. */
  const channel = (): string | null => notifications.channel ?? null;

  return {
    async claim(request, call) {
      const { id, operation, scope, key, fingerprint, nonce, leaseMs, retentionMs, onAbandoned } = request;
      const fields = {
        id,
        operation,
        scope,
        key: (storeKeys ? key : undefined) ?? null,
        fingerprint: fingerprint ?? null,
        nonce,
        lease_ms: leaseMs,
        retention_ms: retentionMs,
        takeover: onAbandoned === "takeover",
      };
      return claimResultOf(readable(await queues.claim.ask({ record: id, fields }, call)));
    },

    async renew({ id, token, nonce, leaseMs, retentionMs }, call) {
      const fields = { id, token, nonce, lease_ms: leaseMs, retention_ms: retentionMs };
      const { status, leaseRemainingMs } = readable(await queues.renew.ask({ record: id, fields }, call));
      if (status === "renewed") return { status, leaseRemainingMs };
      return { status: status as "finalized" | "lost" | "missing" };
    },

    async complete({ id, token, nonce, outcome, retentionMs }, call) {
      // The statement comes later: what the caller does to the bytes until then must not get into the ledger.
      const own = { kind: outcome.kind, bytes: Buffer.from(outcome.bytes) };
      const fields = { id, token, nonce, kind: own.kind, retention_ms: retentionMs, channel: channel() };
      const answer = readable(await queues.complete.ask({ record: id, fields, bytes: own.bytes }, call));
      notifications.wake(id);
      const { status } = answer;
      if (status === "committed" || status === "finalized") return { status, ...committedOf(answer, own) };
      return { status: status as "lost" | "missing" };
    },

    completeInTransaction(request, tx) {
      return completeWithin(connection, request, tx, channel());
    },

    async release({ id, token, nonce, as }, call) {
      const fields = { id, token, nonce, ...releaseFields(as), channel: channel() };
      const answer = readable(await queues.release.ask({ record: id, fields }, call));
      notifications.wake(id);
      const { status } = answer;
      if (status === "committed" || status === "finalized") return { status, ...committedOf(answer) };
      return { status: status as "released" | "lost" | "missing" };
    },

    async recordStep({ id, token, nonce, step: { position, name, outcome } }, call) {
      const fields = { id, token, nonce, position, name, kind: outcome.kind };
      const bytes = Buffer.from(outcome.bytes);
      const { status } = readable(await queues.recordStep.ask({ record: id, fields, bytes }, call));
      return { status: status as "recorded" | "finalized" | "lost" | "missing" };
    },

    async seize({ id, token, nonce, leaseMs, retentionMs }, call) {
      const fields = { id, token, nonce, lease_ms: leaseMs, retention_ms: retentionMs };
      const answer = readable(await queues.seize.ask({ record: id, fields }, call));
      const { status } = answer;
      if (status === "completed") return { status, ...committedOf(answer) };
      if (status !== "seized") return { status: status as "changed" | "missing" };
      return { status, token: answer.token, attempt: answer.attempt, leaseRemainingMs: answer.leaseRemainingMs };
    },

    async get(id, call) {
      const answer = readable(await queues.get.ask({ record: id, fields: { id } }, call));
      return answer.status === "missing" ? undefined : viewOfAnswer(answer);
    },

    async list(request, call) {
      assertStorable(request.operation ?? "", request.after ?? "");
      const rows = await connection.query(call, listStatement(request));
      return rows.map(({ answer }) => viewOfAnswer(JSON.parse(String(answer)) as ExecutionAnswer));
    },

    async recent({ operation, limit }, call) {
      assertStorable(operation ?? "");
      const rows = await connection.query(call, ({ names }) => ({
        text: `SELECT a.answer::text AS answer
          FROM ${names.of("recent_executions")}($1::text, $2::text::bigint) AS a(answer)`,
        values: [operation ?? null, String(limit)],
      }));
      return rows.map(({ answer }) => viewOfAnswer(JSON.parse(String(answer)) as ExecutionAnswer));
    },

    async purge({ limit }, call: StoreCall) {
      const { clock } = connection;
      const deadline = clock.monotonic() + call.timeoutMs;
      let purged = 0;
      for (let longestMs = 0; ; ) {
        const part = Math.min(limit - purged, PURGED_AT_ONCE);
        const begunAt = clock.monotonic();
        const timeoutMs = deadline - begunAt;
        // What was deleted stays deleted: better to tell of it than to begin what the time may be too short for.
        if (part === 0 || (purged > 0 && timeoutMs <= 2 * longestMs)) return { purged };
        const [row] = await connection.query({ timeoutMs }, ({ names }) => ({
          text: `SELECT ${names.of("purge")}($1::bigint)::text AS purged`,
          values: [String(part)],
        }));
        const deleted = Number(row?.["purged"]);
        purged += deleted;
        if (deleted < part) return { purged };
        longestMs = Math.max(longestMs, clock.monotonic() - begunAt);
      }
    },

    async countExpired(call) {
      const [row] = await connection.query(call, ({ names }) => ({
        text: `SELECT ${names.of("count_expired")}()::text AS count`,
        values: [],
      }));
      return { count: Number(row?.["count"]) };
    },

    watch: (id, wake) => notifications.watch(id, wake),
  };
}

function releaseFields(as: ReleaseRequest["as"]) {
  if (as.mode === "forget") return { mode: as.mode, attempt: null, lease_expired_at: null, retention_ms: null };
  const { mode, attempt, retentionMs } = as;
  const leaseExpiredAt = as.mode === "abandon" ? as.leaseExpiredAt : undefined;
  return { mode, attempt, lease_expired_at: leaseExpiredAt ?? null, retention_ms: retentionMs };
}

function listStatement({ operation, status, limit, after = "" }: ListExecutionsRequest): LedgerStatement {
  return ({ names }) => ({
    text: `SELECT a.answer::text AS answer
      FROM ${names.of("list_executions")}($1::text, $2::text, $3::text, $4::text::bigint) AS a(answer)`,
    values: [operation ?? null, status ?? null, after, String(limit)],
  });
}
