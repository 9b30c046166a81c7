import { shownName, shownText } from "../../../src/shown-text.ts";
import type { DashboardProblem, GroupSummary, ResourceSummary, ResourceWindow } from "../dashboard-update.ts";
import type { Actions } from "./actions.ts";
import { ageCell, type Cell, type Column, dataTable, sinceCell, textCell } from "./data-table.ts";
import { countText } from "./duration-text.ts";
import { button, element, setAttribute, setText } from "./element.ts";
import type { LastGood } from "./last-good.ts";
import { type PageAddress, WINDOW_ROWS } from "./page-address.ts";
import { panel } from "./panel.ts";
import type { Part } from "./part.ts";
import { STATES, type State, stateMark, stateText } from "./resource-states.ts";

/** A row, and when its last heartbeat was by the server's clock. */
interface Row extends ResourceSummary {
  readonly beatAt: number | undefined;
  readonly group: string;
  readonly isHere: boolean;
}

/** What the panel shows. `trail` is the cursors of the windows before this one, where it is known how one came here. */
export interface ResourcesData {
  readonly group: GroupSummary | undefined;
  readonly window: LastGood<ResourceWindow> | undefined;
  readonly address: PageAddress;
  readonly trail: readonly string[] | undefined;
  readonly problem: DashboardProblem | undefined;
}

/** The resources of the chosen group: one window of them, by state. */
export function resourcesPanel(options: {
  readonly actions: Actions | undefined;
  readonly filter: (states: readonly State[]) => void;
  readonly turn: (to: "first" | "previous" | "next") => void;
}): Part<ResourcesData> {
  const { actions, filter, turn } = options;
  const table = dataTable<Row>({
    caption: "Resources",
    columns: columnsOf(actions),
    keyOf: ({ id, incarnation }) => JSON.stringify([id, incarnation]),
    empty: "",
  });
  const filters = stateFilters(filter);
  const first = button("First", {}, () => turn("first"));
  const previous = button("Previous", {}, () => turn("previous"));
  const next = button("Next", {}, () => turn("next"));
  const place = element("span", { class: "place" });
  const pager = element("div", { class: "pager" }, place, first, previous, next);
  const {
    element: section,
    setProblem,
    timeOf,
    tick,
  } = panel({
    name: "resources",
    title: "Resources",
    content: [filters.element, table.element, pager],
  });
  return {
    element: section,
    show({ group, window: read, address, trail, problem }, now) {
      setProblem(problem, read, now);
      const window = read?.data;
      filters.show(address.states, group);
      const rows = window?.rows ?? [];
      table.setEmpty(emptyText(window, address));
      table.show(
        rows.map((row) => ({
          ...row,
          beatAt: read === undefined || row.heartbeatAgeMs === undefined ? undefined : read.at - row.heartbeatAgeMs,
          group: window?.group ?? "",
          isHere: group?.isHere === true,
        })),
        timeOf(now),
      );
      setText(place, placeText(window, address, trail));
      first.disabled = address.after === undefined;
      previous.disabled = trail === undefined || trail.length === 0;
      next.disabled = window?.next === undefined;
    },
    tick(now) {
      table.tick(timeOf(now));
      tick(now);
    },
  };
}

function columnsOf(actions: Actions | undefined): readonly Column<Row>[] {
  const columns: Column<Row>[] = [
    { label: "Resource", kind: "id", cell: nameCell },
    { label: "State", cell: stateCell },
    { label: "Heartbeat", kind: "number", cell: () => ageCell(({ beatAt }) => beatAt) },
    { label: "For", kind: "number", cell: () => sinceCell(({ stateChangedAt }) => stateChangedAt) },
    {
      label: "Attempt",
      kind: "number",
      cell: () => textCell(({ attempt }) => (attempt === 0 ? "–" : countText(attempt))),
    },
    {
      label: "External id",
      kind: "id",
      cell: () => textCell(({ externalId }) => (externalId === undefined ? "–" : shownName(externalId))),
    },
    { label: "Last reason", cell: () => textCell(({ reason }) => (reason === undefined ? "–" : shownText(reason))) },
  ];
  return actions === undefined
    ? columns
    : [...columns, { label: "Wake", kind: "action", cell: () => wakeCell(actions) }];
}

function nameCell(): Cell<Row> {
  const id = element("bdi");
  const incarnation = element("span", { class: "incarnation" });
  return {
    content: element("span", { class: "resource" }, id, incarnation),
    show(row) {
      const shown = shownName(row.id);
      setText(id, shown);
      setAttribute(id, "title", shown);
      setText(incarnation, `#${row.incarnation}`);
    },
  };
}

function stateCell(): Cell<Row> {
  const mark = stateMark("PENDING");
  const text = element("span");
  const content = element("span", { class: "state" }, mark, text);
  let last: State | undefined;
  return {
    content,
    show({ state }) {
      if (last !== undefined && last !== state) glow(content);
      last = state;
      setAttribute(mark, "data-state", state);
      setText(text, stateText(state));
    },
  };
}

/** Says softly that something has just changed, to those who want to see movement. */
function glow(target: HTMLElement): void {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const colour = getComputedStyle(target).getPropertyValue("--glow");
  target.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], {
    duration: 1_600,
    easing: "ease-out",
  });
}

function wakeCell(actions: Actions): Cell<Row> {
  let row: Row | undefined;
  const content = button("Wake", { class: "small" }, () => {
    if (row !== undefined) actions.wake(row.group, row.id);
  });
  return {
    content,
    show(shown) {
      row = shown;
      content.disabled = !shown.isHere;
      setAttribute(content, "aria-label", `Wake ${shownName(shown.id)}`);
    },
  };
}

function stateFilters(filter: (states: readonly State[]) => void) {
  const boxes = STATES.map((state) => {
    const input = element("input", { type: "checkbox", value: state });
    const count = element("span", { class: "count" });
    const label = element(
      "label",
      { class: "chip" },
      input,
      stateMark(state),
      element("span", {}, stateText(state)),
      count,
    );
    input.addEventListener("change", () => {
      const chosen = boxes.filter((box) => box.input.checked).map((box) => box.state);
      if (chosen.length > 0) filter(chosen);
      else input.checked = true;
    });
    return { state, input, count, label };
  });
  return {
    element: element(
      "fieldset",
      { class: "filters" },
      element("legend", { class: "unseen" }, "States to show"),
      ...boxes.map(({ label }) => label),
    ),
    show(states: readonly State[], group: GroupSummary | undefined) {
      for (const { state, input, count } of boxes) {
        const isShown = states.includes(state);
        if (input.checked !== isShown) input.checked = isShown;
        setText(count, group?.observed === undefined ? "–" : countText(group.observed[state]));
      }
    },
  };
}

function emptyText(window: ResourceWindow | undefined, { after, group }: PageAddress): string {
  if (window === undefined) return group === undefined ? "No group is chosen." : "Nothing is known of them yet.";
  return after === undefined ? "None is in these states." : "None is left behind this point.";
}

function placeText(
  window: ResourceWindow | undefined,
  address: PageAddress,
  trail: readonly string[] | undefined,
): string {
  if (window === undefined || window.rows.length === 0) return "";
  const total = window.total === undefined ? "" : ` of ${countText(window.total)}`;
  const before = address.after === undefined ? 0 : trail === undefined ? undefined : trail.length * WINDOW_ROWS;
  if (before === undefined) return `${countText(window.rows.length)}${total}`;
  return `${countText(before + 1)} – ${countText(before + window.rows.length)}${total}`;
}
