import { shownName } from "../../../src/shown-text.ts";
import type { DashboardProblem, DivisionMemberSummary, DivisionSummary, ElectionSummary } from "../dashboard-update.ts";
import { ageCell, type Column, dataTable, textCell } from "./data-table.ts";
import { countText } from "./duration-text.ts";
import { element, setAttribute, setShown, setText } from "./element.ts";
import { keyedRows } from "./keyed-rows.ts";
import type { LastGood } from "./last-good.ts";
import { panel } from "./panel.ts";
import type { Part } from "./part.ts";

/** So many members of a division are shown. */
const MOST_MEMBERS = 24;

type Election = ElectionSummary & { readonly seenAt: number };
type Member = DivisionMemberSummary & { readonly share: number };

const ELECTION_COLUMNS: readonly Column<Election>[] = [
  { label: "Election", kind: "id", cell: () => textCell(({ name }) => shownName(name)) },
  { label: "Leader", kind: "id", cell: () => textCell(({ leader }) => shownName(leader)) },
  { label: "Epoch", kind: "number", cell: () => textCell(({ epoch }) => countText(epoch)) },
  {
    label: "Lease left",
    kind: "number",
    cell: () => ageCell(({ remainingMs, seenAt }) => seenAt + remainingMs, "left"),
  },
];

/** Who leads, and who has which part of a division. */
export function leasesPanel(): Part<{
  readonly elections: LastGood<readonly ElectionSummary[]> | undefined;
  readonly divisions: LastGood<readonly DivisionSummary[]> | undefined;
  readonly problem: DashboardProblem | undefined;
}> {
  const elections = dataTable<Election>({
    caption: "Elections",
    columns: ELECTION_COLUMNS,
    keyOf: ({ name }) => name,
    empty: "",
  });
  const box = element("div", { class: "divisions" });
  const divisions = keyedRows<DivisionSummary>({ parent: box, keyOf: ({ name }) => name, create: division });
  const {
    element: section,
    setProblem,
    timeOf,
    tick,
  } = panel({
    name: "leases",
    title: "Leaders and shards",
    content: [elections.element, box],
  });
  return {
    element: section,
    show({ elections: held, divisions: divided, problem }, now) {
      setProblem(problem, held, now);
      elections.setEmpty(held === undefined ? "Not known: they could not be read yet." : "No election is held.");
      elections.show(
        (held?.data ?? []).map((election) => ({ ...election, seenAt: held?.at ?? now })),
        timeOf(now),
      );
      divisions.show(divided?.data ?? [], timeOf(now));
    },
    tick(now) {
      elections.tick(timeOf(now));
      tick(now);
    },
  };
}

function division(): Part<DivisionSummary> {
  const name = element("bdi");
  const shards = element("span", { class: "count" });
  const unowned = element("p", { class: "unowned" });
  const list = element("ul", { class: "members" });
  const rest = element("p", { class: "nothing" });
  const members = keyedRows<Member>({ parent: list, keyOf: ({ id }) => id, create: member });
  return {
    element: element("div", { class: "division" }, element("h3", {}, name, " ", shards), unowned, list, rest),
    show(shown, now) {
      setText(name, shownName(shown.name));
      setText(shards, `${countText(shown.shards)} shards`);
      setText(unowned, `${countText(shown.unowned)} ${shown.unowned === 1 ? "shard has" : "shards have"} no owner`);
      setShown(unowned, shown.unowned > 0);
      const listed = shown.members.slice(0, MOST_MEMBERS);
      members.show(
        listed.map((one) => ({ ...one, share: shown.shards === 0 ? 0 : one.shards / shown.shards })),
        now,
      );
      const hidden = shown.members.length - listed.length;
      setText(
        rest,
        hidden > 0 ? `and ${countText(hidden)} more members` : shown.members.length === 0 ? "No member." : "",
      );
    },
    tick() {},
  };
}

function member(): Part<Member> {
  const id = element("bdi", { class: "name" });
  const count = element("span", { class: "count" });
  const fill = element("span", { class: "fill" });
  return {
    element: element("li", {}, id, count, element("span", { class: "share", "aria-hidden": "true" }, fill)),
    show({ id: told, shards, weight, share }) {
      const name = shownName(told);
      setText(id, name);
      setAttribute(id, "title", name);
      setText(count, `${countText(shards)}${standingText(weight)}`);
      const width = `${Math.round(share * 1_000) / 10}%`;
      if (fill.style.width !== width) fill.style.width = width;
    },
    tick() {},
  };
}

function standingText(weight: number | undefined): string {
  if (weight === undefined) return ", has left";
  return weight === 1 ? "" : `, weight ${weight}`;
}
