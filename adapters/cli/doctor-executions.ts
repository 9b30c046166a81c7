import { shownName } from "../../src/shown-text.ts";
import type { ExecutionView } from "../../src/store.ts";
import { cutText } from "./cut-text.ts";
import { type Check, FINE, found, type Verdict } from "./doctor-check.ts";
import type { LedgerSubject } from "./doctor-ledger-subject.ts";
import { durationText } from "./duration-text.ts";

/** What can be said of the executions of a ledger. */
export const EXECUTION_CHECKS: readonly Check<LedgerSubject>[] = [
  { id: "executions-abandoned", look: abandoned },
  { id: "executions-stuck", look: stuck },
  { id: "executions-many-attempts", look: manyAttempts },
  { id: "executions-expired", look: expired },
];

const PAGE = 500;
/** The columns of a name that is told. */
const LONGEST_NAME = 80;

async function abandoned(subject: LedgerSubject): Promise<Verdict> {
  const now = subject.clock.now();
  const records: ExecutionView[] = [];
  let oldestMs = 0;
  for await (const record of ofStatus(subject, "abandoned")) {
    if (record.status !== "abandoned" || record.retryGranted) continue;
    const ageMs = now - record.leaseExpiredAt;
    if (ageMs < subject.limits.lapsedMs) continue;
    records.push(record);
    oldestMs = Math.max(oldestMs, ageMs);
  }
  if (records.length === 0) return FINE;
  return found(
    "warning",
    `${many(records.length, "execution was", "executions were")} abandoned by a process that fell silent, the longest ago ${durationText(oldestMs)} ago, of ${operationsOf(records)}: whether its effect happened is not known`,
    'the next call with the key takes over, unless `onAbandoned` is "reject"; look with `evenkeel executions list --status abandoned`, and decide with `executions release` or `executions complete`, or in the program with `recoverAbandoned()`',
  );
}

async function stuck(subject: LedgerSubject): Promise<Verdict> {
  const now = subject.clock.now();
  const records: ExecutionView[] = [];
  let oldestMs = 0;
  for await (const record of ofStatus(subject, "running")) {
    const ageMs = now - record.createdAt;
    if (ageMs < subject.limits.runningMs) continue;
    records.push(record);
    oldestMs = Math.max(oldestMs, ageMs);
  }
  if (records.length === 0) return FINE;
  return found(
    "warning",
    `${many(records.length, "execution has", "executions have")} been running for long, the longest for ${durationText(oldestMs)}, of ${operationsOf(records)}: a lease is renewed as long as its process lives, even if the function never ends`,
    "give what the function waits for a deadline, or the call a `signal`; `evenkeel executions release ID --yes` takes a key away from its holder",
  );
}

async function manyAttempts(subject: LedgerSubject): Promise<Verdict> {
  const records: ExecutionView[] = [];
  for (const status of ["running", "abandoned"] as const) {
    for await (const record of ofStatus(subject, status)) {
      if (record.attempt >= subject.limits.attempts) records.push(record);
    }
  }
  if (records.length === 0) return FINE;
  const most = Math.max(...records.map(({ attempt }) => attempt));
  return found(
    "warning",
    `${many(records.length, "execution is", "executions are")} at attempt ${most}, or near, of ${operationsOf(records)}: each attempt before ended with its process`,
    'look for what kills the process: memory, a crash in the function, a deployment that does not wait; `onAbandoned: "reject"` ends the row of attempts',
  );
}

async function expired({ store, ask, limits }: LedgerSubject): Promise<Verdict> {
  const { count } = await ask((call) => store.executions.countExpired(call));
  if (count < limits.expired) return FINE;
  return found(
    "hint",
    `${count} expired records are still there`,
    "run `evenkeel purge`, or `purgeExpired()` in one of your processes, now and then",
  );
}

async function* ofStatus(
  { store, ask, limits, signal }: LedgerSubject,
  status: "running" | "abandoned",
): AsyncGenerator<ExecutionView> {
  let after: string | undefined;
  for (let read = 0; read < limits.records; read += PAGE) {
    signal?.throwIfAborted();
    const request = { status, limit: PAGE, ...(after === undefined ? {} : { after }) };
    const page = await ask((call) => store.executions.list(request, call));
    yield* page;
    after = page.at(-1)?.id;
    if (page.length < PAGE) return;
  }
}

function operationsOf(records: readonly ExecutionView[]): string {
  const names = [...new Set(records.map(({ operation }) => operation))].sort();
  const shown = names
    .slice(0, 3)
    .map((name) => `"${cutText(shownName(name.slice(0, 2 * LONGEST_NAME)), LONGEST_NAME)}"`);
  return names.length > 3 ? `${shown.join(", ")} and ${names.length - 3} more operations` : shown.join(", ");
}

function many(count: number, one: string, more: string): string {
  return `${count} ${count === 1 ? one : more}`;
}
