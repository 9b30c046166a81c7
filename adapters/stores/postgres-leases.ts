import type { LeaseStore, LeaseView } from "../../src/store.ts";
import { readable } from "./postgres-answers.ts";
import type { PostgresConnection } from "./postgres-connection.ts";
import { type RecordAnswer, recordOperation } from "./postgres-operations.ts";
import { RecordQueue } from "./postgres-queue.ts";
import { assertStorable } from "./postgres-texts.ts";

interface LeaseAnswer extends RecordAnswer, LeaseView {}

const HOLDER = { name: "text", holder: "text", epoch: "bigint" } as const;

const OPERATIONS = {
  acquire: recordOperation("acquire_lease", { name: "text", holder: "text", nonce: "text", duration_ms: "bigint" }),
  renew: recordOperation("renew_lease", { ...HOLDER, duration_ms: "bigint" }),
  release: recordOperation("release_lease", HOLDER),
  get: recordOperation("get_lease", { name: "text" }),
} as const;

/** The leases of a PostgreSQL ledger: the decisions are the database's, see `postgres-leases-schema.ts`. */
export function postgresLeases(connection: PostgresConnection): LeaseStore {
  const queues = {
    acquire: new RecordQueue<LeaseAnswer>(connection, OPERATIONS.acquire),
    renew: new RecordQueue<LeaseAnswer>(connection, OPERATIONS.renew),
    release: new RecordQueue<LeaseAnswer>(connection, OPERATIONS.release),
    get: new RecordQueue<LeaseAnswer>(connection, OPERATIONS.get),
  } as const;

  return {
    async acquire({ name, holder, nonce, durationMs }, call) {
      const fields = { name, holder, nonce, duration_ms: durationMs };
      const answer = readable(await queues.acquire.ask({ record: name, fields }, call));
      if (answer.status === "held") return { status: "held", ...viewOf(answer) };
      return { status: "acquired", epoch: answer.epoch, remainingMs: answer.remainingMs };
    },

    async renew({ name, holder, epoch, durationMs }, call) {
      const fields = { name, holder, epoch, duration_ms: durationMs };
      const { status, remainingMs } = readable(await queues.renew.ask({ record: name, fields }, call));
      return status === "renewed" ? { status, remainingMs } : { status: status as "lost" | "missing" };
    },

    async release({ name, holder, epoch }, call) {
      const { status } = readable(await queues.release.ask({ record: name, fields: { name, holder, epoch } }, call));
      return { status: status as "released" | "lost" | "missing" };
    },

    async get(name, call) {
      const answer = readable(await queues.get.ask({ record: name, fields: { name } }, call));
      return answer.status === "missing" ? undefined : viewOf(answer);
    },

    async list(prefix, call) {
      assertStorable(prefix);
      const rows = await connection.query(call, ({ names }) => ({
        text: `SELECT a.answer::text AS answer FROM ${names.of("list_leases")}($1::text) AS a(answer)`,
        values: [prefix],
      }));
      return rows.map(({ answer }) => viewOf(JSON.parse(String(answer)) as LeaseAnswer));
    },
  };
}

function viewOf({ name, holder, epoch, renewals, durationMs, remainingMs }: LeaseAnswer): LeaseView {
  return { name, holder, epoch, renewals, durationMs, remainingMs };
}
