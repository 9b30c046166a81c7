import { shownName } from "../../../src/shown-text.ts";
import type { GroupSummary } from "../dashboard-update.ts";
import { countText, durationText } from "./duration-text.ts";
import { element, setAttribute, setShown, setText } from "./element.ts";
import { keyedRows } from "./keyed-rows.ts";
import type { Part } from "./part.ts";
import { stateBar } from "./resource-states.ts";

/** So many cards stand on the page. Others are found by a part of their names. */
const MOST_CARDS = 24;

/** All groups at a glance, each a link to itself. */
export function groupCards(options: { readonly hashOf: (group: string) => string }): Part<{
  /** Undefined where they are not known. */
  readonly groups: readonly GroupSummary[] | undefined;
  readonly chosen: string | undefined;
}> {
  const list = element("ul", { class: "cards" });
  const search = element("input", { type: "search", placeholder: "Name of a group", "aria-label": "Find a group" });
  const more = element("p", { class: "nothing" });
  const finder = element("div", { class: "finder" }, search, more);
  let chosen: string | undefined;
  let groups: readonly GroupSummary[] | undefined;
  let lastNow = 0;
  const cards = keyedRows<GroupSummary>({
    parent: list,
    keyOf: ({ name }) => name,
    create: () => groupCard({ hashOf: options.hashOf, isChosen: (name) => name === chosen }),
  });

  function showFound(): void {
    const part = search.value.trim().toLowerCase();
    const known = groups ?? [];
    const found = part === "" ? known : known.filter(({ name }) => name.toLowerCase().includes(part));
    const shown = found.slice(0, MOST_CARDS);
    const own = found.find(({ name }) => name === chosen);
    if (own !== undefined && !shown.includes(own)) shown[MOST_CARDS - 1] = own;
    cards.show(shown, lastNow);
    setShown(search, known.length > MOST_CARDS);
    setShown(finder, known.length === 0 || known.length > MOST_CARDS);
    const hidden = found.length - shown.length;
    const counted = hidden === 0 ? `${countText(found.length)} groups` : `and ${countText(hidden)} more groups`;
    setText(
      more,
      groups === undefined
        ? "Which groups there are is not known."
        : known.length === 0
          ? "There is no group in the ledger yet."
          : counted,
    );
  }

  search.addEventListener("input", showFound);
  return {
    element: element("nav", { class: "groups", "aria-label": "Groups" }, list, finder),
    show(data, now) {
      ({ groups, chosen } = data);
      lastNow = now;
      showFound();
    },
    tick: cards.tick,
  };
}

function groupCard(options: {
  readonly hashOf: (group: string) => string;
  readonly isChosen: (group: string) => boolean;
}): Part<GroupSummary> {
  const name = element("bdi", { class: "name" });
  const tag = element("span", { class: "tag" });
  const observed = element("span", { class: "observed" });
  const desired = element("span", { class: "desired" });
  const bar = stateBar();
  const verdict = element("span", { class: "verdict" });
  const since = element("time", { class: "age" });
  const link = element(
    "a",
    { class: "card" },
    // With spaces between them, for those who hear it as one name.
    element("span", { class: "card-head" }, name, " ", tag, " "),
    element("span", { class: "figure" }, observed, " ", desired, " "),
    bar.element,
    element("span", { class: "card-foot" }, verdict, " ", since),
  );
  let sinceAt: number | undefined;
  const tick = (now: number): void => setText(since, sinceAt === undefined ? "" : `for ${durationText(now - sinceAt)}`);
  return {
    element: element("li", {}, link),
    show(group, now) {
      const shown = shownName(group.name);
      setText(name, shown);
      setAttribute(name, "title", shown);
      setAttribute(link, "href", options.hashOf(group.name));
      setAttribute(link, "aria-current", options.isChosen(group.name) ? "true" : undefined);
      setText(observed, group.observed === undefined ? "–" : countText(group.observed.PROVISIONED));
      setText(desired, group.desired === undefined ? "observed" : `of ${countText(group.desired)} desired`);
      bar.show(group.observed, group.desired);
      const { tone, text, since: at } = verdictOf(group);
      setAttribute(verdict, "data-tone", tone);
      setText(verdict, text);
      sinceAt = at;
      setText(tag, tagOf(group));
      tick(now);
    },
    tick,
  };
}

/** What is to be said of a group in two words, and since when it is so where that is known. */
function verdictOf({ converged, conditions }: GroupSummary): {
  readonly tone: string;
  readonly text: string;
  readonly since?: number | undefined;
} {
  if (conditions === undefined) return { tone: "unknown", text: "Not known" };
  const trouble = conditions.find(({ type, status }) => status && isTrouble(type));
  if (trouble !== undefined) return { tone: "bad", text: wordsOf(trouble.type), since: trouble.since };
  if (converged === undefined) return { tone: "unknown", text: "No pass yet" };
  const since = conditions.find(({ type, status }) => type === "Converged" && status === converged)?.since;
  return converged ? { tone: "good", text: "Converged", since } : { tone: "busy", text: "Not converged", since };
}

/** Whether a condition is a trouble where it holds. That it is paused somebody wanted, and of several copies only one leads. */
export function isTrouble(type: string): boolean {
  return type !== "Converged" && type !== "Paused" && type !== "NotLeader";
}

/** `MassStaleness` as `Mass staleness`. */
export function wordsOf(name: string): string {
  const words = name.replace(/([a-z])([A-Z])/g, (_, end: string, start: string) => `${end} ${start.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function tagOf({ paused, leader }: GroupSummary): string {
  if (paused === true) return "paused";
  return leader === undefined ? "" : leader ? "leads here" : "follows here";
}
