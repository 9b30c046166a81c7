import { shownName, shownText } from "../../../src/shown-text.ts";
import type { DashboardAction, DashboardApproved, DashboardPlan, ExecutionSummary } from "../dashboard-update.ts";
import { confirmDialog, refusalDialog } from "./confirm-dialog.ts";
import { countText } from "./duration-text.ts";
import { element } from "./element.ts";
import { act, planOf } from "./operator.ts";

/** What an operator can do from the page. Each asks first. */
export interface Actions {
  pause(group: string): void;
  resume(group: string): void;
  /** Shows the plan of the next pass, and approves just this. */
  approve(group: string): void;
  wake(group: string, id: string): void;
  release(execution: ExecutionSummary): void;
}

/** `say` tells what was done to those who do not see it. */
export function pageActions(say: (text: string) => void): Actions {
  function confirmed(action: DashboardAction, done: string): () => Promise<string | undefined> {
    return async () => {
      const answer = await act(action);
      if (answer.status === "refused") return answer.text;
      say(done);
      return undefined;
    };
  }

  return {
    pause(group) {
      confirmDialog({
        title: "Pause this group?",
        content: [sentence("Its reconciler goes on observing, and does nothing until it is resumed: ", named(group))],
        confirm: "Pause",
        carryOut: confirmed({ type: "pause", group }, "Paused."),
      });
    },
    resume(group) {
      confirmDialog({
        title: "Resume this group?",
        content: [sentence("Its reconciler observes afresh, and acts again: ", named(group))],
        confirm: "Resume",
        carryOut: confirmed({ type: "resume", group }, "Resumed."),
      });
    },
    async approve(group) {
      const answer = await planOf(group);
      if (answer.status === "refused") return refusalDialog("There is no plan to show", answer.text);
      const { value: plan } = answer;
      confirmDialog({
        title: "Approve this plan?",
        content: planContent(group, plan),
        confirm: "Approve",
        tone: "danger",
        async carryOut() {
          const answer = await act({ type: "approve", group, planHash: plan.hash });
          if (answer.status === "refused") return answer.text;
          const { value } = answer;
          if (value !== undefined && value.failed > 0) return failedText(value);
          say(value === undefined ? "Approved. Its pass still runs." : `Approved: ${countText(value.done)} done.`);
          return undefined;
        },
      });
    },
    wake(group, id) {
      confirmDialog({
        title: "Wake this resource?",
        content: [sentence("It is looked at now, without waiting for its backoff: ", named(id))],
        confirm: "Wake",
        carryOut: confirmed({ type: "wake", group, id }, "Woken."),
      });
    },
    release({ id, token, status, operation }) {
      const text =
        status === "running"
          ? "It is running. Its holder loses it and its outcome is refused, but what it does outside goes on: the next caller may do it a second time. "
          : "Its process is gone, and how far it came is not known: the next caller runs it again. ";
      confirmDialog({
        title: status === "running" ? "Release it by force?" : "Release it?",
        content: [sentence(text, named(`${operation} ${id.slice(0, 16)}`))],
        confirm: "Release",
        tone: "danger",
        carryOut: confirmed({ type: "release", id, token }, "Released."),
      });
    },
  };
}

function failedText({ done, failed }: DashboardApproved): string {
  return `It was carried out, and ${countText(failed)} of ${countText(done + failed)} actions failed. The resources say why.`;
}

function planContent(
  group: string,
  { generation, actions, actionsTotal, held, heldTotal, hash }: DashboardPlan,
): Node[] {
  const list = (items: DashboardPlan["actions"]): HTMLElement =>
    element(
      "ul",
      { class: "plan", tabindex: "0" },
      ...items.map(({ type, id, incarnation, reason }) =>
        element(
          "li",
          {},
          element("b", {}, type),
          " ",
          element("bdi", {}, `${shownName(id)}#${incarnation}`),
          ` (${shownText(reason)})`,
        ),
      ),
    );
  const counted = (what: string, total: number, shown: number): HTMLElement =>
    element(
      "p",
      {},
      `${what}: ${countText(total)}${total > shown ? `, of which the first ${countText(shown)} are` : ""}`,
    );
  return [
    sentence(`Generation ${generation} of `, named(group)),
    counted("Would be done", actionsTotal, actions.length),
    list(actions),
    counted("Held, and done once approved where a guard holds it", heldTotal, held.length),
    list(held),
    element("p", { class: "hash" }, hash),
  ];
}

function sentence(...parts: readonly (Node | string)[]): HTMLElement {
  return element("p", {}, ...parts);
}

function named(text: string): HTMLElement {
  return element("bdi", { class: "named" }, shownName(text));
}
