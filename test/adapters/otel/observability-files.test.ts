import { readFileSync } from "node:fs";
import type { EvenkeelEvent } from "evenkeel";
import { beforeAll, describe, expect, it } from "vitest";
import { setUpReconciler } from "../../reconcile/set-up.ts";
import { type ReadRule, readRules } from "./alert-rules.ts";
import { selectorsOf } from "./promql.ts";
import { type Series, setUpTelemetry } from "./telemetry.ts";

const read = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), "utf8");

const execution = { at: 5_000, operation: "charge", keyHash: "0123456789abcdef" };
const attempt = { ...execution, attempt: 1, fencingToken: 1 };
const election = { at: 5_000, election: "web", epoch: 1 };
const shard = { at: 5_000, division: "web", member: "a", shard: 1, epoch: 1 };
const pass = { at: 5_000, reconciler: "web" };

/** One of each that there is: whoever adds one is told by the compiler. */
const ONE_OF_EACH: { readonly [Type in EvenkeelEvent["type"]]: Extract<EvenkeelEvent, { type: Type }> } = {
  claimed: { type: "claimed", ...attempt },
  taken_over: { type: "taken_over", ...attempt, attempt: 2, fencingToken: 2 },
  completed: { type: "completed", ...attempt, durationMs: 5 },
  released: { type: "released", ...attempt, errorType: "Error" },
  tombstoned: { type: "tombstoned", ...attempt, reason: "too_large" },
  outcome_ignored: { type: "outcome_ignored", ...attempt },
  lease_lost: { type: "lease_lost", ...attempt, reason: "lost" },
  stale_write: { type: "stale_write", ...attempt },
  complete_failed: { type: "complete_failed", ...attempt, error: new Error("no") },
  replayed: { type: "replayed", ...execution, from: "store" },
  waited: { type: "waited", ...execution, durationMs: 5, outcome: "settled" },
  rejected: { type: "rejected", ...execution, code: "IN_PROGRESS" },
  mismatch: { type: "mismatch", ...execution },
  store_error: { type: "store_error", ...execution, error: new Error("no"), ranUnprotected: false },
  purged: { type: "purged", at: 5_000, count: 1 },
  store_setting_unknown: { type: "store_setting_unknown", at: 5_000, store: "redisStore", setting: "maxmemory-policy" },
  reconciler_created: { type: "reconciler_created", ...pass, metrics: () => setUpReconciler().reconciler.metrics() },
  reconciler_stopped: { type: "reconciler_stopped", ...pass, metrics: () => [] },
  reconciler_restarted: {
    type: "reconciler_restarted",
    ...pass,
    metrics: () => setUpReconciler().reconciler.metrics(),
  },
  action_finished: {
    type: "action_finished",
    ...pass,
    action: "create",
    id: "a",
    incarnation: 1,
    reason: "Missing",
    result: "done",
  },
  pass_finished: { type: "pass_finished", ...pass, durationMs: 5, actions: 0, held: 0, converged: true },
  work_finished: { type: "work_finished", ...pass, queuedMs: 5, workedMs: 5 },
  pass_failed: { type: "pass_failed", ...pass, error: new Error("no") },
  condition_changed: { type: "condition_changed", ...pass, condition: "Paused", status: true, reason: "Paused" },
  answer_unknown: { type: "answer_unknown", ...pass, of: "observe", error: new Error("no") },
  leader_started: { type: "leader_started", ...election },
  leader_stopped: { type: "leader_stopped", ...election, reason: "lost" },
  leader_observed: { type: "leader_observed", ...election, leader: "a" },
  leader_error: { type: "leader_error", ...election, of: "store", error: new Error("no") },
  members_changed: { type: "members_changed", ...shard, members: [{ id: "a", weight: 1 }] },
  shard_assigned: { type: "shard_assigned", ...shard },
  shard_revoked: { type: "shard_revoked", ...shard, reason: "moved" },
  membership_refused: { type: "membership_refused", ...shard, error: new Error("no") },
  shard_error: { type: "shard_error", ...shard, of: "store", error: new Error("no") },
};

/** Prometheus puts them on whatever it scrapes. */
const ADDED_BY_PROMETHEUS = ["instance", "job"];

/** What is exported of one metric: for each of its labels the values that it can have. */
type Exported = Map<string, Map<string, Set<string>>>;

let exported: Exported;
let kinds: Map<string, string>;

beforeAll(async () => {
  const { onEvent, series, scrape } = setUpTelemetry();
  for (const event of Object.values(ONE_OF_EACH)) onEvent(event);
  exported = byName(await series());
  kinds = new Map(
    [...(await scrape()).matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = "", kind = ""]) => [name, kind]),
  );
  kinds.delete("target_info");
});

function byName(all: readonly Series[]): Exported {
  const found: Exported = new Map();
  for (const { name, labels } of all) {
    const known = found.get(name) ?? new Map<string, Set<string>>();
    found.set(name, known);
    for (const [label, value] of Object.entries(labels)) known.set(label, (known.get(label) ?? new Set()).add(value));
  }
  return found;
}

/** What an expression names that is not exported: metrics, labels, and values of labels from fixed lists. */
function unknownIn(expr: string): string[] {
  const { selectors, groupings } = selectorsOf(expr);
  const labels = new Set([...ADDED_BY_PROMETHEUS]);
  const wrong = selectors.flatMap(({ metric, matchers }) => {
    const known = exported.get(metric);
    if (known === undefined) return [metric];
    for (const label of known.keys()) labels.add(label);
    return matchers.flatMap(({ label, operator, value }) => {
      const values = known.get(label);
      if (values === undefined) return ADDED_BY_PROMETHEUS.includes(label) ? [] : [`${metric}{${label}}`];
      // Those that a dashboard fills in.
      if (value.startsWith("$")) return [];
      const wanted = operator === "=~" ? value.split("|") : [value];
      return wanted.filter((one) => !values.has(one)).map((one) => `${metric}{${label}="${one}"}`);
    });
  });
  return [...wrong, ...groupings.filter((label) => !labels.has(label)).map((label) => `by (${label})`)];
}

describe("docs/observability.md", () => {
  const rows = [...read("observability.md").matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|/gm)];

  it("names every metric that is exported, with its kind and labels, and no other", () => {
    const said = rows.map(([, name, kind, labels = ""]) => ({
      name,
      kind,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort(),
    }));
    const found = [...kinds].map(([name, kind]) => ({
      name,
      kind,
      labels: [...(exported.get(kind === "histogram" ? `${name}_count` : name)?.keys() ?? [])].sort(),
    }));
    const inOrder = (all: readonly { name?: string | undefined }[]) =>
      [...all].sort((a, b) => (a.name ?? "").localeCompare(b.name ?? ""));
    expect(inOrder(said)).toEqual(inOrder(found));
  });

  it("says of every alert what to do, and of no other", () => {
    const said = [...read("observability.md").matchAll(/^\| `(Evenkeel\w+)` \| \S/gm)].map(([, name]) => name);
    expect(said).toEqual(readRules(read("observability/alerts.yml")).map(({ alert }) => alert));
  });
});

describe("docs/observability/alerts.yml", () => {
  const rules = readRules(read("observability/alerts.yml"));

  it.each(rules.map((rule) => [rule.alert, rule] as const))("%s asks for what is exported", (_, { expr }) => {
    expect(unknownIn(expr)).toEqual([]);
    expect(selectorsOf(expr).selectors.length).toBeGreaterThan(0);
  });

  it.each(rules.map((rule) => [rule.alert, rule] as const))(
    "%s tells of labels that its expression keeps",
    (_, rule) => {
      const { groupings } = selectorsOf(rule.expr);
      const told = [...`${rule.summary} ${rule.description}`.matchAll(/\{\{ \$labels\.(\w+) \}\}/g)].map(
        ([, label]) => label,
      );
      expect(told.filter((label) => !groupings.includes(label ?? ""))).toEqual([]);
      expect(["critical", "warning", "info"]).toContain(rule.severity);
    },
  );

  it("counts only what counters count", () => {
    for (const { alert, expr } of rules)
      for (const [, name = ""] of expr.matchAll(/(?:increase|rate)\((\w+)/g))
        expect(kinds.get(name), alert).toBe("counter");
  });

  it("also notices a counter that begins with its first count, where one is enough and nothing makes it begin at 0 before", () => {
    const atOne = rules.filter(({ expr }) => /^sum by \(.*\) \(increase\(idempotency_.* > 0$/.test(expr));
    expect(atOne.map(({ alert }) => alert)).toContain("EvenkeelCompleteFailed");
    for (const { alert, expr } of atOne) {
      const [, counter, window] = /increase\(([^[]+)\[(\w+)\]\)/.exec(expr) ?? [];
      const isNew = `(${counter} unless last_over_time(${counter}[1h] offset ${window}))`;
      expect(expr, alert).toMatch(/^sum by \([a-z, ]+\) /);
      expect(expr.replace(/^sum by \([a-z, ]+\) /, ""), alert).toBe(
        `(increase(${counter}[${window}]) > 0 or ${isNew}) > 0`,
      );
    }
  });

  it("has each alert once", () => {
    expect(new Set(rules.map(({ alert }: ReadRule) => alert)).size).toBe(rules.length);
    expect(rules.length).toBeGreaterThan(20);
  });
});

describe("docs/observability/grafana-dashboard.json", () => {
  interface Panel {
    readonly id: number;
    readonly type: string;
    readonly title: string;
    readonly datasource?: { readonly uid: string };
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }
  const { panels, templating } = JSON.parse(read("observability/grafana-dashboard.json")) as {
    readonly panels: readonly Panel[];
    readonly templating: {
      readonly list: readonly { readonly name: string; readonly type: string; readonly definition?: string }[];
    };
  };
  const charts = panels.filter(({ type }) => type !== "row");

  it.each(charts.map((panel) => [panel.title, panel] as const))("%s shows what is exported", (_, { targets = [] }) => {
    expect(targets.length).toBeGreaterThan(0);
    for (const { expr, legendFormat } of targets) {
      expect(unknownIn(expr)).toEqual([]);
      const { groupings } = selectorsOf(expr);
      const told = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
      if (groupings.length > 0) expect(told.filter((label) => !groupings.includes(label))).toEqual([]);
    }
  });

  it("shows every metric", () => {
    const shown = new Set(
      charts.flatMap(({ targets = [] }) =>
        targets.flatMap(({ expr }) => selectorsOf(expr).selectors.map(({ metric }) => metric)),
      ),
    );
    const missing = [...kinds.keys()].filter(
      (name) => !["", "_bucket", "_count", "_sum"].some((ending) => shown.has(name + ending)),
    );
    expect(missing).toEqual([]);
  });

  it("takes the data source that is chosen, and fills in variables that there are", () => {
    const [datasource] = templating.list;
    expect(datasource).toMatchObject({ name: "datasource", type: "datasource", query: "prometheus" });
    for (const panel of charts) expect(panel.datasource?.uid, panel.title).toBe("$datasource");
    for (const { definition } of templating.list.slice(1)) {
      const [, metric = "", label = ""] = /^label_values\((\w+), (\w+)\)$/.exec(definition ?? "") ?? [];
      expect([...(exported.get(metric)?.keys() ?? [])]).toContain(label);
    }
    const names = new Set([...templating.list.map(({ name }) => name), "__rate_interval"]);
    const used = charts.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => [...expr.matchAll(/\$(\w+)/g)]));
    expect(used.filter(([, name = ""]) => !names.has(name))).toEqual([]);
  });

  it("lays its panels out beside each other, and none over another", () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
      expect(x + w).toBeLessThanOrEqual(24);
      return Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)}/${y + Math.floor(cell / w)}`);
    });
    expect(new Set(cells).size).toBe(cells.length);
  });
});

describe("what checks the files", () => {
  it.each([
    ["sum by (name) (reconciler_wanted) > 0", ["reconciler_wanted", "by (name)"]],
    ['rate(reconciler_actions_total{action="explode"}[5m])', ['reconciler_actions_total{action="explode"}']],
    ['reconciler_desired{group="web"}', ["reconciler_desired{group}"]],
    ["sum by (color) (election_leading)", ["by (color)"]],
    [
      'max(reconciler_actions_held_total{reason=~"paused|bored"}) or up',
      ['reconciler_actions_held_total{reason="bored"}', "up"],
    ],
    ["histogram_quantile(0.5, sum by (le) (rate(workqueue_depth_bucket[5m])))", ["workqueue_depth_bucket", "by (le)"]],
  ])("finds what is wrong in %s", (expr, wrong) => {
    expect(unknownIn(expr)).toEqual(wrong);
  });

  it.each(["sum by (name) (a", "a)", 'a{b="c}', "a[5m", "a $ b"])("does not read %s", (expr) => {
    expect(() => selectorsOf(expr)).toThrow();
  });

  it.each(["groups:\n  rules: []\n", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: a: b\n"])(
    "does not read rules of another form (%#)",
    (text) => {
      expect(() => readRules(text)).toThrow();
    },
  );
});
