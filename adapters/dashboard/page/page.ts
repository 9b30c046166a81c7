import type {
  DashboardHello,
  DashboardProblem,
  DashboardUpdate,
  DivisionSummary,
  ElectionSummary,
  ExecutionsSummary,
  GroupSummary,
  ResourceWindow,
} from "../dashboard-update.ts";
import { pageActions } from "./actions.ts";
import { element, setText } from "./element.ts";
import { EventStream, type StreamState } from "./event-stream.ts";
import { GroupHistory } from "./group-history.ts";
import { knownGroups, type LastGood, lastGood } from "./last-good.ts";
import { masthead } from "./masthead.ts";
import { hashOf, type PageAddress, readAddress, streamOf } from "./page-address.ts";
import { pageParts } from "./page-parts.ts";
import { ServerClock } from "./server-clock.ts";

const TICK_MS = 1_000;

const head = masthead();
const said = element("p", { class: "unseen", role: "status" });
const main = element("main", {}, element("p", { class: "waiting" }, "Looking at the ledger …"));
document.body.prepend(head.element, main, said);

const clock = new ServerClock();
const history = new GroupHistory();
let address = readAddress(location.hash);
let openQuery: string | undefined;
let state: StreamState = "connecting";
let hello: DashboardHello | undefined;
let update: DashboardUpdate | undefined;
let groups: LastGood<readonly GroupSummary[]> | undefined;
let resources: LastGood<ResourceWindow> | undefined;
/** What the rows in sight were asked by. */
let shownQuery: string | undefined;
let executions: LastGood<ExecutionsSummary> | undefined;
let elections: LastGood<readonly ElectionSummary[]> | undefined;
let divisions: LastGood<readonly DivisionSummary[]> | undefined;
let parts: ReturnType<typeof pageParts> | undefined;

const stream = new EventStream({
  hello(next) {
    // Buttons come and go with a server that was started anew.
    if (hello !== undefined && hello.actions !== next.actions) location.reload();
    hello = next;
    history.begin(next.history);
    head.setTitle(next.title);
    parts ??= begin(next);
    parts.showNotes(next.notes);
  },
  update(next) {
    clock.set(next.at);
    update = next;
    const { at } = next;
    groups = lastGood(groups, next.groups && knownGroups(groups?.data, next.groups), at, problemOf("groups"));
    if (groups !== undefined) history.add(at, groups.data, ({ name }) => problemOf("groups", name) !== undefined);
    executions = lastGood(executions, next.executions, at, problemOf("executions"));
    elections = lastGood(elections, next.elections, at, problemOf("leases"));
    divisions = lastGood(divisions, next.divisions, at, problemOf("leases"));
    const query = streamOf(address);
    resources = lastGood(
      query === shownQuery ? resources : undefined,
      next.window,
      at,
      problemOf("window", address.group),
    );
    shownQuery = query;
    const [first] = groups?.data ?? [];
    // What the page shows stands in its address from the beginning.
    if (address.group === undefined && first !== undefined) go({ ...address, group: first.name }, "replace");
    else show();
  },
  state(next) {
    state = next;
    if (next === "lost") clock.stop();
    showHead();
  },
});

function begin({ actions }: DashboardHello): ReturnType<typeof pageParts> {
  const made = pageParts({
    say,
    actions: actions ? pageActions(say) : undefined,
    groupHash: (group) => hashOf({ ...address, group, after: undefined }),
    setSpan: (spanMinutes) => go({ ...address, spanMinutes }, "replace"),
    filter: (states) => go({ ...address, states, after: undefined }, "replace"),
    turn,
  });
  main.replaceChildren(...made.elements);
  return made;
}

function say(text: string): void {
  setText(said, text);
}

/** The windows before this one. They stay with the entry of the browser's history, also when the page is loaded again. */
function trail(): readonly string[] | undefined {
  const kept: unknown = globalThis.history.state?.trail;
  return Array.isArray(kept) ? kept : address.after === undefined ? [] : undefined;
}

function turn(to: "first" | "previous" | "next"): void {
  const before = trail();
  if (to === "first") return go({ ...address, after: undefined }, "push");
  // The first window has no cursor; in a trail it is the empty text.
  if (to === "next")
    return go({ ...address, after: resources?.data.next }, "push", before && [...before, address.after ?? ""]);
  go({ ...address, after: before?.at(-1) || undefined }, "push", before?.slice(0, -1));
}

function go(next: PageAddress, how: "push" | "replace", nextTrail?: readonly string[]): void {
  const entry = nextTrail === undefined ? null : { trail: nextTrail };
  globalThis.history[how === "push" ? "pushState" : "replaceState"](entry, "", hashOf(next));
  look();
}

/** Takes up what the address says. */
function look(): void {
  address = readAddress(location.hash);
  const query = streamOf(address);
  if (query !== openQuery) {
    openQuery = query;
    stream.open(query);
  }
  show();
}

function problemOf(of: DashboardProblem["of"], group?: string): DashboardProblem | undefined {
  return update?.problems.find(
    (problem) => problem.of === of && (problem.group === undefined || problem.group === group),
  );
}

function show(): void {
  showHead();
  if (update === undefined || parts === undefined) return;
  const { group: name } = address;
  const group = groups?.data.find((one) => one.name === name);
  document.title = titleOf(groups?.data, hello?.title ?? "evenkeel");
  parts.show(
    {
      groups: groups?.data,
      group,
      name,
      points: name === undefined ? [] : history.of(name),
      address,
      trail: trail(),
      isTurning: shownQuery !== openQuery,
      resources,
      executions,
      elections,
      divisions,
      problems: {
        groups: problemOf("groups", name),
        window: problemOf("window", address.group),
        executions: problemOf("executions"),
        leases: problemOf("leases"),
      },
    },
    clock.now(),
  );
}

function showHead(): void {
  head.show(state, update === undefined ? undefined : clock.sinceUpdateMs());
}

/** With how many groups need a look, for those who have the page in another tab. */
function titleOf(known: readonly GroupSummary[] | undefined, title: string): string {
  const unsettled = known?.filter(({ converged }) => converged === false).length ?? 0;
  return unsettled === 0 ? title : `(${unsettled}) ${title}`;
}

addEventListener("popstate", look);
setInterval(() => {
  showHead();
  parts?.tick(clock.now());
}, TICK_MS);
look();
