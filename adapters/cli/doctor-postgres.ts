import type { Clock } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import type { PostgresDriver, PostgresRow } from "../stores/postgres-driver.ts";
import { isDenied } from "../stores/postgres-errors.ts";
import { DEFAULT_TABLE_PREFIX, namesOf, type PostgresNames } from "../stores/postgres-names.ts";
import { ownPool } from "../stores/postgres-pool.ts";
import { findLedger } from "../stores/postgres-schema.ts";
import { type Check, type Examination, examine, together } from "./doctor-check.ts";
import type { DoctorLimits } from "./doctor-limits.ts";
import { clockVerdict, latencyVerdict } from "./doctor-machine.ts";
import { POSTGRES_LEDGER_CHECKS } from "./doctor-postgres-ledger.ts";
import { POSTGRES_SERVER_CHECKS, type PostgresSubject } from "./doctor-postgres-server.ts";

export interface PostgresExaminationOptions {
  readonly prefix?: string | undefined;
  readonly clock: Clock;
  readonly limits: DoctorLimits;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

interface TimedSubject extends PostgresSubject {
  readonly clock: Clock;
}

/**
 * Looks at the settings and the state of a PostgreSQL server, and at the tables of the ledger.
 * @throws EvenkeelError `STORE_UNAVAILABLE` when it can't be asked, also without a driver.
 */
export async function examinePostgres(url: string, options: PostgresExaminationOptions): Promise<Examination> {
  const { prefix = DEFAULT_TABLE_PREFIX, clock, limits, timeoutMs, signal } = options;
  const driver = ownPool(url, { clock, listenUrl: undefined });
  try {
    const ask = asking(driver, clock, timeoutMs);
    await ask("SELECT 1").catch((cause: unknown) => {
      throw new EvenkeelError("STORE_UNAVAILABLE", "PostgreSQL can't be reached.", { cause });
    });
    const subject = { ask, clock, limits, port: new URL(url).port || "5432" };
    const server = await examine(subject, [...POSTGRES_SERVER_CHECKS, ...TIMED_CHECKS], signal);
    const deadline = clock.monotonic() + timeoutMs;
    const names = await findLedger(driver, { prefix, schema: undefined }, deadline).then(
      (ledger) => ledger?.names,
      // A server that takes no writes has no ledger to speak of; the store says so too.
      (error) => (isDenied(error) ? namesOfDenied(ask, prefix) : undefined),
    );
    if (names === undefined) return server;
    return together([server, await examine({ ...subject, names }, POSTGRES_LEDGER_CHECKS, signal)]);
  } finally {
    await driver.close();
  }
}

/** The names of a ledger that this user may not read, so that what is missing can be told. That it is there everybody sees. */
async function namesOfDenied(ask: PostgresSubject["ask"], prefix: string): Promise<PostgresNames | undefined> {
  const [row] = await ask(
    `SELECT n.nspname::text AS schema FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = to_regclass($1)`,
    [`"${prefix}schema"`],
  );
  const schema = row?.["schema"];
  return typeof schema === "string" ? namesOf(schema, prefix) : undefined;
}

const TIMED_CHECKS: readonly Check<TimedSubject>[] = [
  {
    id: "pg-clock",
    look: ({ ask, clock, limits }) =>
      clockVerdict("PostgreSQL", clock, limits, async () => {
        const [row] = await ask("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now");
        return Number(row?.["now"]);
      }),
  },
  {
    id: "pg-latency",
    look: ({ ask, clock, limits }) => latencyVerdict("PostgreSQL", clock, limits, () => ask("SELECT 1")),
  },
];

function asking(driver: PostgresDriver, clock: Clock, timeoutMs: number) {
  return (text: string, values: readonly string[] = []): Promise<PostgresRow[]> => {
    const deadline = clock.monotonic() + timeoutMs;
    return driver.run(() => ({ text, values, deadline }), deadline);
  };
}
