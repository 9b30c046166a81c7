import type { ResourceSummary } from "../dashboard-update.ts";
import { element, setShown } from "./element.ts";

/** A state of a resource. */
export type State = ResourceSummary["state"];

/** In the order of a resource's life. */
export const STATES: readonly State[] = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"];

/** What is shown unless somebody asks for else: what is there, or ought to be. */
export const PRESENT: readonly State[] = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING"];

/** A state's name as words of a sentence. */
export function stateText(state: State): string {
  return state.charAt(0) + state.slice(1).toLowerCase();
}

/** The mark of a state beside its name: its form differs too, for those who see no colours. */
export function stateMark(state: State): HTMLElement {
  return element("span", { class: "mark", "data-state": state, "aria-hidden": "true" });
}

/** How many resources are in each state, as one bar, with a gap for those that are missing. Its texts stand elsewhere. */
export function stateBar(): {
  readonly element: HTMLElement;
  show(counts: Readonly<Record<State, number>> | undefined, desired: number | undefined): void;
} {
  const parts = PRESENT.map((state) => ({ state, part: element("span", { "data-state": state }) }));
  const gap = element("span");
  return {
    element: element("div", { class: "bar", "aria-hidden": "true" }, ...parts.map(({ part }) => part), gap),
    show(counts, desired = 0) {
      for (const { state, part } of parts) setShare(part, counts?.[state] ?? 0);
      // Those that are about to go stand for none that is desired.
      const standing = counts === undefined ? desired : counts.PENDING + counts.PROVISIONED + counts.FAILED;
      setShare(gap, Math.max(0, desired - standing));
    },
  };
}

function setShare(part: HTMLElement, count: number): void {
  const share = String(count);
  if (part.style.flexGrow !== share) part.style.flexGrow = share;
  // What has no width has no space beside it either.
  setShown(part, count > 0);
}
