import { isDivisionLeaseName } from "../../src/coordination/division-lease.ts";
import { isEvenkeelError } from "../../src/errors.ts";
import { type GroupStatus, statusOf } from "../../src/reconcile/conditions.ts";
import { LedgerView } from "../../src/reconcile/ledger-view.ts";
import { isLive } from "../../src/reconcile/slot.ts";
import { desiredOfText } from "../../src/resources/desired-text.ts";
import { shownName } from "../../src/shown-text.ts";
import type { DesiredState, ResourceRow } from "../../src/store.ts";
import { type Examination, type Finding, reasonOf, type Severity, type Unknown } from "./doctor-check.ts";
import type { LedgerSubject } from "./doctor-ledger-subject.ts";
import { durationText } from "./duration-text.ts";
import { groupNames } from "./resource-rows.ts";
import { shellWord } from "./shell-word.ts";

/** Every finding that a group can have. */
const IDS = [
  "resources-unreadable",
  "group-not-converged",
  "group-not-observed",
  "group-no-leader",
  "condition-mass-staleness",
  "condition-observe-failed",
  "condition-desired-failed",
  "condition-staleness-failed",
  "condition-surplus-failed",
  "condition-unconfirmed-empty",
  "condition-other",
  "resources-silent",
  "resources-pending",
  "resources-terminating",
] as const;
type Id = (typeof IDS)[number];

const PAGE = 1_000;

/** What a group's part of the ledger says. */
interface GroupFacts {
  readonly name: string;
  readonly state: DesiredState;
  readonly status: GroupStatus;
  readonly rows: readonly ResourceRow[];
  /** Wanted resources without a live row, and live rows that nobody wants. */
  readonly isDifferent: boolean;
}

/** Looks at each group: at its reconciler's last word, at its rows, and at whether anybody acts on it. */
export async function examineGroups(subject: LedgerSubject): Promise<Examination> {
  const findings: Finding[] = [];
  const unknown: Unknown[] = [];
  for await (const name of groupNames(subject, subject.limits.records)) {
    try {
      const facts = await factsOf(subject, name);
      findings.push(...reconcilerFindings(facts, subject), ...rowFindings(facts, subject));
      findings.push(...(await actingFindings(facts, subject)));
    } catch (error) {
      subject.signal?.throwIfAborted();
      if (!isEvenkeelError(error)) throw error;
      if (error.code === "RECORD_CORRUPT") findings.push(unreadable(name, error));
      else unknown.push({ id: "group-not-converged", why: `"${shownName(name)}" can't be read: ${reasonOf(error)}` });
    }
  }
  const found = new Set<string>([...findings, ...unknown].map(({ id }) => id));
  return { findings, unknown, fine: IDS.filter((id) => !found.has(id)) };
}

async function factsOf({ store, ask, signal }: LedgerSubject, name: string): Promise<GroupFacts> {
  const state = await ask((call) => store.resources.getDesired(name, call));
  const view = new LedgerView(name);
  if (state.desired !== undefined) await view.want(await desiredOfText(state.desired));
  await view.refresh((cursor) => {
    signal?.throwIfAborted();
    const request = { group: name, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
    return ask((call) => store.resources.changedSince(request, call));
  }, PAGE);
  const slots = [...view.slots()];
  return {
    name,
    state,
    status: statusOf(state.status),
    rows: slots.flatMap(({ rows }) => rows),
    isDifferent: slots.some(({ rows, wanted }) => {
      const isThere = rows.some(({ state: of }) => of === "PROVISIONED");
      return wanted === undefined ? rows.some(isLive) : !isThere;
    }),
  };
}

function unreadable(name: string, error: Error): Finding {
  const what = `a record of the group can't be read: ${error.message.replace(/\.$/, "")}`;
  const change =
    "its reconciler does nothing until somebody has looked: upgrade evenkeel where a newer one wrote the record, else restore it from a backup";
  return finding("resources-unreadable", "error", name, what, change);
}

// ------------------------------------------------------------------------------------------- the reconciler's word

function reconcilerFindings({ name, status }: GroupFacts, { clock, limits }: LedgerSubject): Finding[] {
  const now = clock.now();
  return status.conditions.flatMap(({ type, status: holds, reason, since }) => {
    const ageMs = now - since;
    const age = durationText(ageMs);
    if (type === "Converged") {
      if (holds || ageMs < limits.unconvergedMs) return [];
      const change = `look with \`evenkeel watch --group ${shellWord(name)}\`, and ask the reconciler's \`explain(id)\` why; its last reason was ${reason}`;
      return finding("group-not-converged", "warning", name, `not converged for ${age}: ${reason}`, change);
    }
    if (!holds) return [];
    const { id, change } = CONDITIONS[type] ?? {
      id: "condition-other" as const,
      change: "ask the reconciler's `status()` and its log",
    };
    return finding(id, "warning", name, `${type} for ${age}: ${reason}`, change);
  });
}

const CONDITIONS: Readonly<Record<string, { readonly id: Id; readonly change: string }>> = {
  MassStaleness: {
    id: "condition-mass-staleness",
    change:
      "half of the resources or more fell silent at once, which is more often the network than the resources: see that they reach the ledger; once they beat again it clears, or approve the plan with `approve(plan.hash)`",
  },
  ObserveFailed: {
    id: "condition-observe-failed",
    change: "`observe` throws or takes longer than `actionTimeoutMs`: mend what it asks; until then nothing is changed",
  },
  DesiredFailed: {
    id: "condition-desired-failed",
    change: "`desired` throws or takes longer than `actionTimeoutMs`: mend what it asks; until then nothing is changed",
  },
  StalenessFailed: {
    id: "condition-staleness-failed",
    change: "the staleness policy threw: mend `assess`",
  },
  SurplusFailed: {
    id: "condition-surplus-failed",
    change: "the order of the surplus threw: mend `surplus`",
  },
  UnconfirmedEmpty: {
    id: "condition-unconfirmed-empty",
    change:
      "a callback answered that there is nothing, which would touch everything: if that is meant, `approve(plan.hash)` or `allowEmpty: true`",
  },
};

// ----------------------------------------------------------------------------------------------------- the rows

function rowFindings({ name, rows }: GroupFacts, { limits }: LedgerSubject): Finding[] {
  const silent = rows.filter(
    ({ state, lastHeartbeatAt, readAt }) =>
      state === "PROVISIONED" && lastHeartbeatAt !== undefined && readAt - lastHeartbeatAt > limits.resourceMs,
  );
  const pending = rows.filter(
    ({ state, leaseExpiresAt, stateChangedAt, readAt }) =>
      state === "PENDING" &&
      (leaseExpiresAt === undefined
        ? readAt - stateChangedAt > limits.resourceMs
        : readAt - leaseExpiresAt > limits.lapsedMs),
  );
  const terminating = rows.filter(
    ({ state, stateChangedAt, readAt }) => state === "TERMINATING" && readAt - stateChangedAt > limits.resourceMs,
  );
  return [
    ...ofRows("resources-silent", name, silent, {
      what: "PROVISIONED and silent for long",
      change: "see whether a reconciler runs for the group, and whether the resources reach the ledger",
    }),
    ...ofRows("resources-pending", name, pending, {
      what: "PENDING, and nobody creates them: the process fell silent, or `create` goes on failing",
      change:
        "see whether a reconciler runs for the group, and what its `create` says; `provision(id)` goes on with the same idempotency key",
    }),
    ...ofRows("resources-terminating", name, terminating, {
      what: "TERMINATING for long",
      change: "see what `terminate` says, give a `forceTerminate`, and see that `observe` does not list what is gone",
    }),
  ];
}

function ofRows(
  id: Id,
  name: string,
  rows: readonly ResourceRow[],
  { what, change }: { readonly what: string; readonly change: string },
): Finding[] {
  if (rows.length === 0) return [];
  const ids = rows.slice(0, 3).map((row) => `${shownName(row.id)}#${row.incarnation}`);
  const named = rows.length > 3 ? `${ids.join(", ")} and ${rows.length - 3} more` : ids.join(", ");
  return [finding(id, "warning", name, `${rows.length} ${what}: ${named}`, change)];
}

// ------------------------------------------------------------------------------------------------- who acts on it

/** What passes by itself in a healthy system is looked at twice. */
async function actingFindings(facts: GroupFacts, subject: LedgerSubject): Promise<Finding[]> {
  const first = await nobodyActs(facts, subject);
  if (first.length === 0) return [];
  await subject.clock.sleep(subject.limits.settleMs, subject.signal);
  const still = await nobodyActs(await factsOf(subject, facts.name), subject);
  return still.filter(({ id }) => first.some((finding) => finding.id === id));
}

async function nobodyActs(facts: GroupFacts, { store, ask }: LedgerSubject): Promise<Finding[]> {
  const { name, state, status, isDifferent } = facts;
  const findings: Finding[] = [];
  if (state.generation > status.observedGeneration && (state.status !== undefined || isDifferent)) {
    const what =
      state.status === undefined
        ? `generation ${state.generation} is desired, and no reconciler has ever looked at the group`
        : `generation ${state.generation} is desired, and the reconciler has seen ${status.observedGeneration}`;
    const change =
      "see whether a `Reconciler` with this name runs and leads; another process's sees a change at its next resync (`resyncIntervalMs`) at the latest";
    findings.push(finding("group-not-observed", "warning", name, what, change));
  }
  if (state.epoch > 0 && isDifferent) {
    const leases = await ask((call) => store.leases.list("", call));
    // The epochs of a ledger rise over all its leases: whoever may write to the group has this one or a higher.
    const isLed = leases.some((lease) => !isDivisionLeaseName(lease.name) && lease.epoch >= state.epoch);
    if (!isLed) {
      const what = `there is something to do, and nobody leads: the last leader wrote under epoch ${state.epoch}`;
      const change =
        "start a process with the `LeaderElector`; where one runs, see that it reaches the ledger: `evenkeel leases list` shows who leads";
      findings.push(finding("group-no-leader", "error", name, what, change));
    }
  }
  return findings;
}

function finding(id: Id, severity: Severity, subject: string, what: string, change: string): Finding {
  return { id, severity, subject, what, change };
}
