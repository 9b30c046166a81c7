import type {
  DashboardNote,
  DashboardProblem,
  DivisionSummary,
  ElectionSummary,
  ExecutionsSummary,
  GroupSummary,
  HistoryPoint,
  ResourceWindow,
} from "../dashboard-update.ts";
import type { Actions } from "./actions.ts";
import { element, setAttribute } from "./element.ts";
import { executionsPanel } from "./executions-panel.ts";
import { groupCards } from "./group-cards.ts";
import { groupPanels } from "./group-panel.ts";
import type { LastGood } from "./last-good.ts";
import { leasesPanel } from "./leases-panel.ts";
import { notesBox } from "./notes.ts";
import type { PageAddress } from "./page-address.ts";
import type { State } from "./resource-states.ts";
import { resourcesPanel } from "./resources-panel.ts";

/** All that the page knows. What is undefined is unknown, and never shown as none. */
export interface PageData {
  readonly groups: readonly GroupSummary[] | undefined;
  /** The chosen one. */
  readonly group: GroupSummary | undefined;
  readonly name: string | undefined;
  readonly points: readonly HistoryPoint[];
  readonly address: PageAddress;
  readonly trail: readonly string[] | undefined;
  /** Whether the rows in sight are still those of another window. */
  readonly isTurning: boolean;
  readonly resources: LastGood<ResourceWindow> | undefined;
  readonly executions: LastGood<ExecutionsSummary> | undefined;
  readonly elections: LastGood<readonly ElectionSummary[]> | undefined;
  readonly divisions: LastGood<readonly DivisionSummary[]> | undefined;
  readonly problems: Readonly<Record<DashboardProblem["of"], DashboardProblem | undefined>>;
}

/** All parts of the page below its head, in the order in which they are read. */
export function pageParts(options: {
  readonly say: (text: string) => void;
  readonly actions: Actions | undefined;
  readonly groupHash: (group: string) => string;
  readonly setSpan: (minutes: number) => void;
  readonly filter: (states: readonly State[]) => void;
  readonly turn: (to: "first" | "previous" | "next") => void;
}): {
  readonly elements: readonly HTMLElement[];
  showNotes(notes: readonly DashboardNote[]): void;
  show(data: PageData, now: number): void;
  tick(now: number): void;
} {
  const { say, actions, groupHash, setSpan, filter, turn } = options;
  const notes = notesBox(say);
  const cards = groupCards({ hashOf: groupHash });
  const chosen = groupPanels({ actions, setSpan });
  const resources = resourcesPanel({ actions, filter, turn });
  const leases = leasesPanel();
  const executions = executionsPanel(actions);
  const side = element("div", { class: "side" }, chosen.held, leases.element);
  return {
    elements: [
      notes.element,
      cards.element,
      element("div", { class: "row" }, chosen.history, chosen.conditions),
      element("div", { class: "row" }, resources.element, side),
      executions.element,
    ],
    showNotes: notes.show,
    show(data, now) {
      const { groups, group, name, points, address, trail, isTurning, problems } = data;
      cards.show({ groups, chosen: name }, now);
      chosen.show(
        {
          group,
          name,
          areKnown: groups !== undefined,
          points,
          spanMinutes: address.spanMinutes,
          problem: problems.groups,
        },
        now,
      );
      resources.show({ group, window: data.resources, address, trail, problem: problems.window }, now);
      setAttribute(resources.element, "aria-busy", isTurning ? "true" : undefined);
      leases.show({ elections: data.elections, divisions: data.divisions, problem: problems.leases }, now);
      executions.show({ executions: data.executions, problem: problems.executions }, now);
    },
    tick(now) {
      for (const part of [cards, chosen, resources, leases, executions]) part.tick(now);
    },
  };
}
