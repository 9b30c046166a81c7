import { resolve } from "node:path";
import { isEvenkeelError } from "../../src/errors.ts";
import { acceptUrl, sqliteFile } from "../open/store-url.ts";
import { type CommandContext, command } from "./command.ts";
import { type Examination, reasonOf, together } from "./doctor-check.ts";
import { examineLedger } from "./doctor-ledger.ts";
import { DOCTOR_LIMITS, type DoctorLimits } from "./doctor-limits.ts";
import { examinePostgres } from "./doctor-postgres.ts";
import { examineRedis } from "./doctor-redis.ts";
import { inOrder, needsCare, printExamination } from "./doctor-report.ts";
import { examineSqlite } from "./doctor-sqlite.ts";
import { EXIT } from "./exit-status.ts";
import { count, duration } from "./option-spec.ts";
import { unlessAborted } from "./unless-aborted.ts";

/** Looks at the engine of a ledger and at its records, and says what should be changed. */
export const doctor = command({
  name: "doctor",
  summary: "check the engine's settings and the ledger's records, and say what to change",
  details: [
    "Changes nothing. Exit status 1 where there is an error or a warning; hints and unknowns alone are 0.",
    "docs/operating.md explains each finding by its name.",
  ],
  options: {
    "stuck-after": duration("how long an execution may run", "1h"),
    "unconverged-after": duration("how long a group may not be converged", "5m"),
    "silent-after": duration("how long a resource may be silent, be created or be terminated", "10m"),
    wait: duration("after how long what may pass by itself is looked at again", "3s"),
    records: count("N", "how many records of each kind are looked at", DOCTOR_LIMITS.records),
  },
  async run(context) {
    const { options, json, output, url } = context;
    const limits: DoctorLimits = {
      ...DOCTOR_LIMITS,
      runningMs: options["stuck-after"],
      unconvergedMs: options["unconverged-after"],
      resourceMs: options["silent-after"],
      settleMs: options.wait,
      records: options.records,
    };
    const examination = await examineAll(context, limits);
    if (json) {
      const { findings, unknown, fine } = examination;
      output.json({ engine: acceptUrl(url).engine, findings: inOrder(findings), unknown, fine });
    } else printExamination(examination, output);
    return needsCare(examination) ? EXIT.finding : EXIT.done;
  },
});

type Examined = Pick<CommandContext<unknown>, "url" | "prefix" | "clock" | "timeoutMs" | "signal" | "store" | "ask">;

/** The findings for which a store refuses an engine. What else it calls misconfigured is the ledger itself: none, or a newer one. */
const REFUSED = new Set([
  ...["sqlite-integrity", "sqlite-file-system", "sqlite-read-only", "redis-version", "redis-role", "redis-eviction"],
  ...["pg-version", "pg-read-only", "pg-privileges"],
]);

/**
 * Looks at the engine first: it may be what keeps the ledger from being opened, and opening it would mend some settings.
 * @throws EvenkeelError where the ledger can't be opened and nothing of the engine says why.
 */
export async function examineAll(context: Examined, limits: DoctorLimits): Promise<Examination> {
  const { clock, signal, ask } = context;
  const engine = await unlessAborted(examineEngine(context, limits), signal);
  try {
    const store = await context.store();
    return together([engine, await examineLedger({ store, ask, clock, limits, signal })]);
  } catch (error) {
    if (!isEvenkeelError(error)) throw error;
    const isExplained = engine.findings.some(
      ({ id, severity }) => severity === "error" && (error.code !== "STORE_MISCONFIGURED" || REFUSED.has(id)),
    );
    if (!isExplained) throw error;
    return together([engine, { findings: [], unknown: [{ id: "ledger", why: reasonOf(error) }], fine: [] }]);
  }
}

const NOTHING: Examination = { findings: [], unknown: [], fine: [] };

async function examineEngine({ url, prefix, clock, timeoutMs, signal }: Examined, limits: DoctorLimits) {
  const { engine, path } = acceptUrl(url);
  switch (engine) {
    case "sqlite":
      if (sqliteFile(path) !== "present") return NOTHING;
      return await examineSqlite(resolve(path), { prefix, limits, signal });
    case "redis":
      return await examineRedis(url, { prefix, clock, limits, timeoutMs, signal });
    case "postgres":
      return await examinePostgres(url, { prefix, clock, limits, timeoutMs, signal });
    case "memory":
      return NOTHING;
  }
}
