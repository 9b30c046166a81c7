import { shownName } from "../../../src/shown-text.ts";
import type { DashboardProblem, GroupSummary, HistoryPoint } from "../dashboard-update.ts";
import type { Actions } from "./actions.ts";
import { conditionsTable } from "./conditions-table.ts";
import { countText, durationText } from "./duration-text.ts";
import { button, element, setAttribute, setShown, setText } from "./element.ts";
import { heldTable } from "./held-table.ts";
import { historyChart } from "./history-chart.ts";
import { SPANS } from "./page-address.ts";
import { panel } from "./panel.ts";

/** What is to be seen of the chosen group. */
export interface GroupData {
  /** Absent where there is none of this name. */
  readonly group: GroupSummary | undefined;
  readonly name: string | undefined;
  /** Whether it is known which groups there are. */
  readonly areKnown: boolean;
  readonly points: readonly HistoryPoint[];
  readonly spanMinutes: number;
  readonly problem: DashboardProblem | undefined;
}

/** The chosen group: its history, what holds for it, and what it holds back. */
export function groupPanels(options: {
  readonly actions: Actions | undefined;
  readonly setSpan: (minutes: number) => void;
}): {
  readonly history: HTMLElement;
  readonly conditions: HTMLElement;
  readonly held: HTMLElement;
  show(data: GroupData, now: number): void;
  tick(now: number): void;
} {
  const { actions, setSpan } = options;
  const chart = historyChart();
  const spans = spanChoice(setSpan);
  const name = element("bdi", { class: "group-name" });
  const history = panel({ name: "history", title: "Desired beside observed", content: [chart.element] });
  history.aside.append(name, spans.element);

  const conditions = conditionsTable();
  const facts = groupFacts();
  const buttons = actions && groupButtons(actions);
  const standing = panel({
    name: "conditions",
    title: "Standing",
    content: [facts.element, conditions.element],
  });
  if (buttons) standing.aside.append(buttons.element);

  const held = heldTable();
  const heldCount = element("span", { class: "count" });
  const holding = panel({ name: "held", title: "Held actions", content: [held.element] });
  holding.aside.append(heldCount);
  const panels = [history, standing, holding];

  return {
    history: history.element,
    conditions: standing.element,
    held: holding.element,
    show({ group, name: chosen, areKnown, points, spanMinutes, problem }, now) {
      for (const one of panels) one.setProblem(problem, group?.conditions, now);
      const shown = chosen === undefined ? undefined : shownName(chosen);
      setText(name, shown ?? "");
      setAttribute(name, "title", shown);
      spans.show(spanMinutes);
      chart.show(points, now, spanMinutes);
      conditions.setEmpty(group?.conditions === undefined ? unknownText(group, areKnown) : NO_CONDITIONS);
      conditions.show(group?.conditions ?? [], now);
      facts.show(group, areKnown, now);
      buttons?.show(group);
      const total = group?.heldTotal ?? group?.held?.length ?? 0;
      const empty = group === undefined ? unknownText(group, areKnown) : nothingHeldText(group);
      held.show({ held: group?.held ?? [], total, empty }, now);
      setText(heldCount, total === 0 ? "" : countText(total));
    },
    tick(now) {
      for (const one of panels) one.tick(now);
      conditions.tick(now);
      facts.tick(now);
    },
  };
}

const NO_CONDITIONS = "None yet: no reconciler has finished a pass.";

function unknownText(group: GroupSummary | undefined, areKnown: boolean): string {
  return group === undefined && areKnown ? "There is no such group." : "Not known: it could not be read yet.";
}

function nothingHeldText({ held, isHere, leader }: GroupSummary): string {
  if (held !== undefined) return "Nothing is held.";
  if (!isHere) return "Known where its reconciler runs, which is not here.";
  if (leader === false) return "Known to the copy that leads, which is not this one.";
  return "Not known: no pass has ended here yet.";
}

/** How much of the past to show. */
function spanChoice(setSpan: (minutes: number) => void) {
  const inputs = SPANS.map((minutes) => {
    const input = element("input", { type: "radio", name: "span", value: String(minutes) });
    input.addEventListener("change", () => setSpan(minutes));
    return {
      minutes,
      input,
      label: element("label", {}, input, element("span", {}, minutes === 60 ? "1 h" : `${minutes} min`)),
    };
  });
  return {
    element: element(
      "fieldset",
      { class: "segments" },
      element("legend", { class: "unseen" }, "How much of the past to show"),
      ...inputs.map(({ label }) => label),
    ),
    show(spanMinutes: number) {
      for (const { minutes, input } of inputs)
        if (input.checked !== (minutes === spanMinutes)) input.checked = minutes === spanMinutes;
    },
  };
}

function groupFacts() {
  const values = { generation: element("dd"), pass: element("dd"), runs: element("dd") };
  const fact = (label: string, value: HTMLElement): HTMLElement => element("div", {}, element("dt", {}, label), value);
  let lastPassAt: number | undefined;
  const tick = (now: number): void =>
    setText(values.pass, lastPassAt === undefined ? "–" : `${durationText(now - lastPassAt)} ago`);
  return {
    element: element(
      "dl",
      { class: "facts" },
      fact("Generation", values.generation),
      fact("Last pass", values.pass),
      fact("Reconciler", values.runs),
    ),
    show(group: GroupSummary | undefined, areKnown: boolean, now: number) {
      lastPassAt = group?.lastPassAt;
      setText(values.generation, generationText(group));
      setText(
        values.runs,
        group === undefined ? (areKnown ? "There is no group of this name" : "Not known") : runsText(group),
      );
      tick(now);
    },
    tick,
  };
}

function generationText(group: GroupSummary | undefined): string {
  const { generation, observedGeneration } = group ?? {};
  if (generation === undefined || observedGeneration === undefined) return "–";
  return generation === observedGeneration
    ? countText(generation)
    : `${countText(generation)}, acted on ${countText(observedGeneration)}`;
}

function runsText(group: GroupSummary): string {
  if (!group.isHere) return "In another process";
  if (group.paused === true) return "Here, paused";
  return group.leader === undefined ? "Here" : group.leader ? "Here, leading" : "Here, following";
}

function groupButtons(actions: Actions) {
  let group: GroupSummary | undefined;
  const withGroup = (act: (name: string) => void) => (): void => {
    if (group !== undefined) act(group.name);
  };
  const pause = button("Pause", { class: "small" }, withGroup(actions.pause));
  const resume = button("Resume", { class: "small" }, withGroup(actions.resume));
  const plan = button("Plan", { class: "small" }, withGroup(actions.approve));
  return {
    element: element("span", { class: "buttons" }, plan, pause, resume),
    show(shown: GroupSummary | undefined) {
      group = shown;
      setShown(pause, shown?.isHere === true && shown.paused !== true);
      setShown(resume, shown?.isHere === true && shown.paused === true);
      setShown(plan, shown?.isHere === true);
    },
  };
}
