import { shownName } from "../../../src/shown-text.ts";
import type { DashboardProblem, ExecutionSummary, ExecutionsPart, ExecutionsSummary } from "../dashboard-update.ts";
import type { Actions } from "./actions.ts";
import { ageCell, type Cell, type Column, dataTable, sinceCell, textCell } from "./data-table.ts";
import { countText, durationText } from "./duration-text.ts";
import { button, element, setAttribute, setText } from "./element.ts";
import type { LastGood } from "./last-good.ts";
import { panel } from "./panel.ts";
import type { Part } from "./part.ts";

/** So many digits of a digest tell executions apart for people, and are what events call `keyHash`. */
const SHORT = 16;

/** A record, and the server's time at which it was seen. */
interface Row extends ExecutionSummary {
  readonly seenAt: number;
}

/** Executions by what became of them. */
export function executionsPanel(actions: Actions | undefined): Part<{
  readonly executions: LastGood<ExecutionsSummary> | undefined;
  readonly problem: DashboardProblem | undefined;
}> {
  const lists = [
    list("running", "In flight", "None is in flight.", runningColumns(actions)),
    list("abandoned", "Abandoned", "None was abandoned.", abandonedColumns(actions)),
    list("recent", "Recent", "None has begun yet.", recentColumns(actions)),
  ] as const;
  const {
    element: section,
    setProblem,
    timeOf,
    tick,
  } = panel({
    name: "executions",
    title: "Executions",
    content: lists.map((part) => part.element),
  });
  return {
    element: section,
    show({ executions, problem }, now) {
      setProblem(problem, executions, now);
      for (const part of lists) part.show(executions, timeOf(now));
    },
    tick(now) {
      for (const part of lists) part.tick(timeOf(now));
      tick(now);
    },
  };
}

const ID: Column<Row> = {
  label: "Execution",
  kind: "id",
  cell: () =>
    textCell(
      ({ id }) => id.slice(0, SHORT),
      ({ id }) => id,
    ),
};
const OPERATION: Column<Row> = {
  label: "Operation",
  kind: "id",
  cell: () => textCell(({ operation }) => shownName(operation)),
};
const SCOPE: Column<Row> = {
  label: "Scope",
  kind: "id",
  cell: () =>
    textCell(
      ({ scopeHash }) => scopeHash?.slice(0, 8) ?? "–",
      ({ scopeHash }) => scopeHash,
    ),
};
const ATTEMPT: Column<Row> = {
  label: "Attempt",
  kind: "number",
  cell: () => textCell(({ attempt }) => countText(attempt)),
};
const TOKEN: Column<Row> = { label: "Token", kind: "number", cell: () => textCell(({ token }) => countText(token)) };
const OUTCOME: Column<Row> = { label: "Outcome", cell: outcomeCell };
const BEGAN: Column<Row> = { label: "Age", kind: "number", cell: () => sinceCell(({ createdAt }) => createdAt) };

function runningColumns(actions: Actions | undefined): readonly Column<Row>[] {
  const left: Column<Row> = {
    label: "Lease left",
    kind: "number",
    cell: () =>
      ageCell(
        ({ leaseRemainingMs, seenAt }) => (leaseRemainingMs === undefined ? undefined : seenAt + leaseRemainingMs),
        "left",
      ),
  };
  return [ID, OPERATION, SCOPE, OUTCOME, ATTEMPT, TOKEN, BEGAN, left, ...releaseColumn(actions)];
}

function abandonedColumns(actions: Actions | undefined): readonly Column<Row>[] {
  const next: Column<Row> = {
    label: "Next caller",
    cell: () => textCell(({ retryGranted }) => (retryGranted === true ? "runs it" : "by its own rules")),
  };
  const expired: Column<Row> = {
    label: "Lapsed for",
    kind: "number",
    cell: () => sinceCell(({ leaseExpiredAt }) => leaseExpiredAt),
  };
  return [ID, OPERATION, SCOPE, next, ATTEMPT, TOKEN, BEGAN, expired, ...releaseColumn(actions)];
}

function recentColumns(actions: Actions | undefined): readonly Column<Row>[] {
  const took: Column<Row> = {
    label: "Took",
    kind: "number",
    cell: () =>
      textCell(({ completedAt, createdAt }) => (completedAt === undefined ? "–" : tookText(completedAt - createdAt))),
  };
  // As wide as the tables above it.
  const blank: Column<Row> = { label: "", kind: "action", cell: () => textCell(() => "") };
  return [ID, OPERATION, SCOPE, OUTCOME, ATTEMPT, TOKEN, BEGAN, took, ...(actions === undefined ? [] : [blank])];
}

function tookText(ms: number): string {
  return ms < 1_000 ? `${Math.max(0, Math.round(ms))} ms` : durationText(ms);
}

/** What became of it: a word of its own and a tone. */
function outcomeCell(): Cell<Row> {
  const content = element("span", { class: "verdict" });
  return {
    content,
    show({ status, outcome }) {
      const [text, tone] = OUTCOMES[status === "completed" ? (outcome ?? "completed") : status];
      setText(content, text);
      setAttribute(content, "data-tone", tone);
    },
  };
}

const OUTCOMES = {
  running: ["in flight", "busy"],
  abandoned: ["abandoned", "bad"],
  completed: ["completed", "good"],
  value: ["value", "good"],
  error: ["error", "bad"],
  tombstone: ["tombstone", "unknown"],
} as const;

function releaseColumn(actions: Actions | undefined): readonly Column<Row>[] {
  if (actions === undefined) return [];
  const cell = (): Cell<Row> => {
    let row: Row | undefined;
    const content = button("Release", { class: "small" }, () => {
      if (row !== undefined) actions.release(row);
    });
    return {
      content,
      show(shown) {
        row = shown;
        setAttribute(content, "aria-label", `Release ${shownName(shown.operation)} ${shown.id.slice(0, SHORT)}`);
      },
    };
  };
  return [{ label: "Release", kind: "action", cell }];
}

function list(kind: ExecutionsPart, title: string, empty: string, columns: readonly Column<Row>[]) {
  const count = element("span", { class: "count" });
  const table = dataTable<Row>({ caption: `Executions: ${title}`, columns, keyOf: ({ id }) => id, empty });
  return {
    element: element("div", { class: "part", "data-part": kind }, element("h3", {}, `${title} `, count), table.element),
    show(executions: LastGood<ExecutionsSummary> | undefined, now: number) {
      const rows = executions?.data[kind] ?? [];
      const isCut = executions?.data.more.includes(kind) ?? false;
      table.setEmpty(executions === undefined ? "Not known: they could not be read yet." : empty);
      setText(count, executions === undefined ? "" : `${isCut ? "the first " : ""}${countText(rows.length)}`);
      table.show(
        rows.map((row) => ({ ...row, seenAt: executions?.at ?? 0 })),
        now,
      );
    },
    tick: table.tick,
  };
}
