import type { DashboardProblem } from "../dashboard-update.ts";
import { durationText } from "./duration-text.ts";
import { element, setAttribute, setShown, setText } from "./element.ts";

/** A section of the page with a heading, which says so when what it shows is no longer what is. */
export interface Panel {
  readonly element: HTMLElement;
  /** Behind the heading: a count, buttons. */
  readonly aside: HTMLElement;
  /**
   * What could not be read this time, if anything: what stands here is of before.
   * @param shown - what that is; undefined where nothing was ever read.
   */
  setProblem(problem: DashboardProblem | undefined, shown: unknown, now: number): void;
  /** The time by which ages within are told: it stands still for what was not read. */
  timeOf(now: number): number;
  tick(now: number): void;
}

/** Makes a panel around its content. */
export function panel(options: {
  readonly name: string;
  readonly title: string;
  readonly content: readonly Node[];
}): Panel {
  const { name, title, content } = options;
  const aside = element("div", { class: "aside" });
  const text = element("p", { class: "problem" });
  const section = element(
    "section",
    { class: "panel", "data-panel": name, "aria-labelledby": `${name}-title` },
    element("header", {}, element("h2", { id: `${name}-title` }, title), aside),
    text,
    ...content,
  );
  let since: number | undefined;
  let readAt: number | undefined;
  let code = "";
  let isOld = false;
  const tick = (now: number): void => {
    setShown(text, since !== undefined);
    if (since !== undefined)
      setText(
        text,
        `Not read for ${durationText(now - since)} (${code}). ${isOld ? "This is what stood before." : "Nothing is known yet."}`,
      );
  };
  setShown(text, false);
  return {
    element: section,
    aside,
    setProblem(problem, shown, now) {
      isOld = shown !== undefined;
      since = problem === undefined ? undefined : (since ?? now);
      code = problem?.code ?? "";
      if (problem === undefined || readAt === undefined) readAt = now;
      setAttribute(section, "data-old", problem === undefined ? undefined : "true");
      tick(now);
    },
    timeOf: (now) => (since === undefined ? now : (readAt ?? now)),
    tick,
  };
}
