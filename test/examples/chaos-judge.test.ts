import { describe, expect, it } from "vitest";
import type {
  Answer,
  BeliefSeen,
  Facts,
  GroupSnapshot,
  LeaderSeen,
  RequestFacts,
  RowSeen,
  Snapshot,
  WorkerLine,
} from "../../examples/control-plane/chaos/facts.ts";
import { judge } from "../../examples/control-plane/chaos/judge.ts";
import { isAllTried } from "../../examples/control-plane/chaos/judge-trial.ts";
import type { GroupAnswer, StateAnswer } from "../../examples/control-plane/routes/state.ts";

const CHECKS = {
  settled: "observed equals desired, by ledger, copies and processes",
  rest: "then nothing is done any more",
  answers: "all answers to one key are the same",
  effects: "one effect per key",
  twice: "no incarnation is started twice",
  needless: "no worker is replaced without need",
  strangers: "nothing runs that the ledger has not heard of",
  stale: "no stale write is accepted",
  leaders: "one leader per epoch",
  takeover: "another copy leads when the leader is gone",
  crashes: "no copy fails",
  trial: "there was something to judge",
} as const;

const GROUP = "worker";
const LEADER = { identity: "copy-2", epoch: 7 };

function row(id: string, rest: Partial<RowSeen> = {}): RowSeen {
  const identity = { at: 1_000, group: GROUP, id, incarnation: 1, externalId: id === "a" ? "101" : "102" };
  return { ...identity, state: "PROVISIONED", version: 3, fencingToken: 5, silentMs: 400, ...rest };
}

const ROWS = [row("a"), row("b", { incarnation: 2 })];
const LEDGER: GroupSnapshot = { name: GROUP, generation: 4, epoch: 7, desired: ["a", "b"], rows: ROWS };
const TOLD: GroupAnswer = {
  ...{ name: GROUP, generation: 4, observedGeneration: 4, desired: 2, converged: true, conditions: [], held: [] },
  observed: { PENDING: 0, PROVISIONED: 2, FAILED: 0, TERMINATING: 0, TERMINATED: 1 },
  drift: { missing: 0, surplus: 0, stale: 0, outdated: 0 },
  resources: ROWS.map(({ id, incarnation, state, externalId = "" }) => ({ id, incarnation, state, externalId })),
};

function stateOf(copy: string, rest: Partial<GroupAnswer> = {}): StateAnswer {
  const leads = copy === LEADER.identity ? LEADER.epoch : null;
  return { copy, leader: LEADER, leads, groups: [{ ...TOLD, ...rest }] };
}

const SETTLED: Snapshot = {
  at: 5_000,
  leader: LEADER,
  groups: [LEDGER],
  copies: ["copy-1", "copy-2"].map((name) => ({ name, state: stateOf(name) })),
  processes: ROWS.map(({ group, id, incarnation, externalId }) => ({
    group,
    id,
    incarnation,
    pid: Number(externalId),
  })),
};

function line(rest: Partial<WorkerLine> = {}): WorkerLine {
  const started = {
    event: "started",
    group: GROUP,
    id: "a",
    incarnation: 1,
    key: "key-a1",
    pid: 101,
    atMs: 500,
  } as const;
  return { ...started, ...rest };
}

const ANSWER: Answer = { copy: "copy-1", status: 201, body: '{"id":"a"}', replayed: false };
const REPLAY: Answer = { ...ANSWER, copy: "copy-2", replayed: true };

function request(rest: Partial<RequestFacts> = {}): RequestFacts {
  const counts = { sent: 3, dropped: 1, deferred: 1, wanted: [200, 201] };
  return { key: "add-1", method: "POST", path: "/resources", answers: [ANSWER, REPLAY], ...counts, ...rest };
}

const seen = (by: string, identity: string, epoch: number): LeaderSeen => ({ at: 0, by, identity, epoch });

/** What a copy said of itself after the lease had that epoch. */
const belief = (identity: string, epoch: number, newest = epoch): BeliefSeen => {
  return { by: `${identity} (1)`, identity, epoch, newest };
};

/** A run in which all is well. */
const GOOD: Facts = {
  groups: [{ name: GROUP, expected: ["a", "b"], generationBefore: 1, changes: 3 }],
  requests: [
    request(),
    request({
      key: "set-1",
      method: "PUT",
      path: `/desired/${GROUP}`,
      wanted: [200],
      answers: [{ ...ANSWER, status: 200 }],
    }),
  ],
  deliveries: { doubledAtOnce: 1, doubledLater: 1, droppedReplies: 1 },
  mismatches: [{ key: "add-1", status: 422 }],
  lines: [
    line(),
    // By a copy that took over in the middle of it.
    line({ event: "refused", pid: 109 }),
    line({ id: "b", key: "key-b1", pid: 105 }),
    line({ event: "ended", id: "b", key: "key-b1", pid: 105, why: "it was replaced" }),
    line({ id: "b", incarnation: 2, key: "key-b2", pid: 102 }),
  ],
  strangers: [],
  rows: [
    row("a", { state: "PENDING", version: 1, fencingToken: 1 }),
    row("a"),
    row("b", { state: "PROVISIONED", version: 2, fencingToken: 2 }),
    row("b", { state: "TERMINATED", version: 5, fencingToken: 4 }),
    row("b", { incarnation: 2 }),
  ],
  leaders: [
    seen("lease", "copy-1", 5),
    seen("copy-2 (1)", "copy-1", 5),
    seen("lease", "copy-2", 7),
    seen("copy-1 (1)", "copy-1", 5),
  ],
  beliefs: [belief("copy-1", 5), belief("copy-2", 7, 5), belief("copy-2", 7)],
  epochs: [5, 5, 7, 7].map((epoch) => ({ group: GROUP, epoch })),
  probes: [{ group: GROUP, what: "apply", epoch: 5, seen: 7, status: "fenced" }],
  faults: {
    ...{ killedWorkers: 3, frozenWorkers: 1, killedLeaders: 1, killedCopies: 0 },
    ...{ frozenLeaders: 0, swallowedCuts: 0, heldCuts: 0, resetCuts: 0 },
  },
  strikes: [{ group: GROUP, id: "b", incarnation: 1 }],
  staleMs: 5_000,
  takeovers: [{ fault: "kill the leader", former: "copy-1", tookMs: 2_900 }],
  crashes: [],
  settled: SETTLED,
  later: { ...SETTLED, at: 9_000 },
};

/** The checks that find something, with what they find. */
function foundIn(changes: Partial<Facts>): Record<string, readonly string[]> {
  const verdicts = judge({ ...GOOD, ...changes });
  return Object.fromEntries(verdicts.flatMap(({ check, wrong }) => (wrong.length === 0 ? [] : [[check, wrong]])));
}

/** The same in both snapshots, so that nothing but its state is wrong. */
function both(changes: Partial<Snapshot>): Partial<Facts> {
  const settled = { ...SETTLED, ...changes };
  return { settled, later: { ...settled, at: 9_000 } };
}

const ledger = (changes: Partial<GroupSnapshot>) => both({ groups: [{ ...LEDGER, ...changes }] });
const told = (changes: Partial<GroupAnswer>) =>
  both({
    copies: [
      { name: "copy-1", state: stateOf("copy-1") },
      { name: "copy-2", state: stateOf("copy-2", changes) },
    ],
  });

describe("the judge of chaos", () => {
  it("finds nothing wrong where all is well", () => {
    expect(judge(GOOD).map(({ check }) => check)).toEqual(Object.values(CHECKS));
    expect(foundIn({})).toEqual({});
  });

  const [first, second] = SETTLED.processes as [(typeof SETTLED.processes)[0], (typeof SETTLED.processes)[0]];
  it.each<[string, Partial<Facts>, RegExp]>([
    ["a process is missing", both({ processes: [first] }), /processes: missing b#2/],
    [
      "a resource has two processes",
      both({ processes: [first, second, { ...first, pid: 999 }] }),
      /processes: too many a#1/,
    ],
    [
      "a replaced incarnation lives on",
      both({ processes: [first, second, { ...second, incarnation: 1, pid: 9 }] }),
      /too many b#1/,
    ],
    [
      "the ledger names another process",
      both({ processes: [first, { ...second, pid: 9 }] }),
      /b#2 is process 9, and 102/,
    ],
    [
      "something runs of an unknown group",
      both({ processes: [first, second, { ...first, group: "other" }] }),
      /a group other/,
    ],
    [
      "a row is still being made",
      ledger({ rows: [row("a"), row("b", { incarnation: 2, state: "PENDING" })] }),
      /b#2 is PENDING/,
    ],
    [
      "a worker has not been heard of",
      ledger({ rows: [row("a", { silentMs: 2_501 }), ROWS[1] as RowSeen] }),
      /a#1 .* 2501 ms/,
    ],
    [
      "a worker has never beaten",
      ledger({ rows: ROWS.map(({ silentMs, ...never }) => never) }),
      /a#1 has never beaten\n.*b#2 has never beaten/,
    ],
    ["a row is left over", ledger({ rows: [...ROWS, row("c")] }), /rows of the ledger: too many c/],
    ["a row is missing", ledger({ rows: [row("a")] }), /rows of the ledger: missing b/],
    ["the group is gone", both({ groups: [] }), /the ledger has no group worker/],
    ["nobody leads", { settled: { ...SETTLED, leader: undefined } as unknown as Snapshot }, /nobody leads/],
    ["a copy does not answer", both({ copies: [{ name: "copy-1" }] }), /copy-1 does not answer/],
    ["a copy has not converged", told({ converged: false }), /not converged by copy-2/],
    [
      "a copy tells of another incarnation",
      told({ resources: [{ ...TOLD.resources[0], id: "a", incarnation: 2, state: "PROVISIONED" }] }),
      /by copy-2: missing a#1, b#2/,
    ],
    ["a copy lags behind", told({ observedGeneration: 3 }), /generation 4, by copy-2 4, observed 3/],
    ["a copy tells of another number", told({ desired: 3 }), /3 desired by copy-2/],
    ["a copy knows nothing of the group", told({ name: "other" }), /copy-2 tells nothing of worker/],
    [
      "a copy takes another one for the leader",
      both({ copies: [{ name: "copy-1", state: { ...stateOf("copy-1"), leader: null } }] }),
      /copy-1 takes nobody for the leader/,
    ],
  ])("says that it has not settled where %s", (_, changes, what) => {
    expect(foundIn(changes)[CHECKS.settled]?.join("\n")).toMatch(what);
  });

  it.each<[string, Partial<Snapshot>, RegExp]>([
    [
      "a row is written",
      { groups: [{ ...LEDGER, rows: [row("a", { version: 4 }), ROWS[1] as RowSeen] }] },
      /missing worker a#1 PROVISIONED v3/,
    ],
    ["a process is replaced", { processes: [first, { ...second, pid: 110 }] }, /too many worker b#2 process 110/],
    ["what is desired is said again", { groups: [{ ...LEDGER, generation: 5 }] }, /from generation 4 to 5/],
  ])("says that it does not rest where %s", (_, changes, what) => {
    const found = foundIn({ later: { ...SETTLED, at: 9_000, ...changes } });
    expect(Object.keys(found)).toEqual([CHECKS.rest]);
    expect(found[CHECKS.rest]?.join("\n")).toMatch(what);
  });

  it("says that it does not rest where a start is refused meanwhile", () => {
    const lines = [...GOOD.lines, line({ event: "refused", pid: 120, atMs: 7_000 })];
    expect(foundIn({ lines })).toEqual({ [CHECKS.rest]: ["a#1 has refused meanwhile"] });
  });

  it.each<[string, Partial<RequestFacts>, RegExp]>([
    [
      "other bytes",
      { answers: [ANSWER, { ...REPLAY, body: '{"id": "a"}' }] },
      /with 201 \{"id":"a"\} by copy-1 and with 201/,
    ],
    ["another status", { answers: [ANSWER, { ...REPLAY, status: 200 }] }, /with 201 .* and with 200/],
    ["two executions", { answers: [ANSWER, { ...REPLAY, replayed: false }] }, /was executed 2 times/],
    ["an error", { answers: [{ ...ANSWER, status: 500 }] }, /was answered with 500/],
    ["nothing at all", { answers: [] }, /was never answered/],
  ])("finds a key that is answered with %s", (_, changes, what) => {
    const found = foundIn({ requests: [request(), request({ key: "add-2", ...changes })] });
    expect(Object.keys(found)).toEqual([CHECKS.answers]);
    expect(found[CHECKS.answers]?.join("\n")).toMatch(what);
    expect(found[CHECKS.answers]?.join("\n")).toMatch(/add-2/);
  });

  it("lets a deletion find nothing any more, and not answer its key in two ways", () => {
    const gone = request({ key: "remove-a", method: "DELETE", path: "/resources/a", wanted: [204, 404] });
    // A refusal is not kept, so that neither is a replay.
    const answers = [ANSWER, REPLAY].map((answer) => ({ ...answer, status: 404, replayed: false }));
    expect(foundIn({ requests: [{ ...gone, answers }] })).toEqual({});
    const differing = [{ ...ANSWER, status: 204 }, ...answers.slice(1)];
    expect(Object.keys(foundIn({ requests: [{ ...gone, answers: differing }] }))).toEqual([CHECKS.answers]);
  });

  it.each([201, 409])("finds a key that is answered with %d for another body", (status) => {
    const wrong = [`add-1 was answered with ${status} for another body`];
    expect(foundIn({ mismatches: [{ key: "add-1", status }] })).toEqual({ [CHECKS.answers]: wrong });
  });

  it("finds a request that had its effect twice, or not at all", () => {
    const groups = [{ ...(GOOD.groups[0] as Facts["groups"][0]), changes: 2 }];
    expect(foundIn({ groups })[CHECKS.effects]).toEqual([
      "worker: 2 requests changed what is desired, and it changed 3 times",
    ]);
    expect(foundIn(ledger({ generation: 3 }))[CHECKS.effects]).toEqual([
      "worker: 3 requests changed what is desired, and it changed 2 times",
    ]);
  });

  it("finds what is desired that nobody asked for any more, and what got lost", () => {
    expect(foundIn(ledger({ desired: ["a", "b", "c"] }))[CHECKS.effects]).toEqual(["worker: c came back"]);
    expect(foundIn(ledger({ desired: ["a"] }))[CHECKS.effects]).toEqual(["worker: the effect on b is lost"]);
  });

  it("finds an incarnation that was started twice, under one key or two", () => {
    const wrong = ["worker/a#1 was started as process 101 and as 130"];
    expect(foundIn({ lines: [...GOOD.lines, line({ pid: 130 })] })).toEqual({ [CHECKS.twice]: wrong });
    expect(foundIn({ lines: [...GOOD.lines, line({ pid: 130, key: "another" })] })).toEqual({ [CHECKS.twice]: wrong });
  });

  it("finds a key that stands for two incarnations", () => {
    const lines = [...GOOD.lines, line({ id: "c", pid: 130 })];
    expect(foundIn({ lines })).toEqual({ [CHECKS.twice]: ["one key stands for worker/a#1 and for worker/c#1"] });
  });

  it("finds a process without a row", () => {
    const strangers = [{ group: GROUP, id: "z", incarnation: 1, pid: 140 }];
    expect(foundIn({ strangers })).toEqual({ [CHECKS.strangers]: ["process 140 is worker/z#1, without a row"] });
  });

  it.each<[string, Partial<Facts>, RegExp]>([
    [
      "a write of a former leader is accepted",
      { probes: [{ group: GROUP, what: "setDesired", epoch: 5, seen: 7, status: "set" }] },
      /setDesired under epoch 5 is set, after epoch 7/,
    ],
    [
      "a group's epoch goes down",
      {
        epochs: [
          { group: GROUP, epoch: 7 },
          { group: GROUP, epoch: 5 },
        ],
      },
      /from epoch 7 back to 5/,
    ],
    ["a leader writes without its epoch", ledger({ epoch: 0 }), /worker stands under epoch 0, and epoch 7 leads/],
    [
      "a row's version goes down",
      { rows: [row("a", { version: 4 }), row("a", { version: 3 })] },
      /from version 4 back to 3/,
    ],
    [
      "a row's token goes down",
      { rows: [row("a"), row("a", { version: 4, fencingToken: 4 })] },
      /from fencing token 5 back to 4/,
    ],
    [
      "a row rises from the dead",
      { rows: [row("a", { state: "TERMINATED" }), row("a", { version: 4 })] },
      /from TERMINATED back to PROVISIONED/,
    ],
    [
      "a row changes under its version",
      { rows: [row("a"), row("a", { externalId: "7" })] },
      /changed, and is version 3 as before/,
    ],
  ])("finds a stale write where %s", (_, changes, what) => {
    const found = foundIn(changes);
    expect(Object.keys(found)).toEqual([CHECKS.stale]);
    expect(found[CHECKS.stale]?.join("\n")).toMatch(what);
  });

  it("finds an epoch with two leaders, and a copy that goes back to an earlier one", () => {
    const leaders = [seen("lease", "copy-1", 5), seen("copy-2 (1)", "copy-2", 5)];
    expect(foundIn({ leaders })).toEqual({ [CHECKS.leaders]: ["epoch 5 is led by copy-1 and by copy-2"] });
    const back = [seen("copy-1 (1)", "copy-2", 7), seen("copy-1 (1)", "copy-1", 5)];
    expect(foundIn({ leaders: back })).toEqual({ [CHECKS.leaders]: ["copy-1 (1) went from epoch 7 back to 5"] });
  });

  it("finds a copy that leads an epoch of another one, by its own word, and one that does not step down", () => {
    expect(foundIn({ beliefs: [belief("copy-1", 7)] })).toEqual({
      [CHECKS.leaders]: ["epoch 7 is led by copy-2, and copy-1 (1) leads it, too"],
    });
    expect(foundIn({ beliefs: [belief("copy-1", 6), belief("copy-2", 6)] })).toEqual({
      [CHECKS.leaders]: ["epoch 6 is led by copy-1, and copy-2 (1) leads it, too"],
    });
    expect(foundIn({ beliefs: [belief("copy-1", 5, 7)] })).toEqual({
      [CHECKS.leaders]: ["copy-1 (1) still led under epoch 5 when epoch 7 had come"],
    });
  });

  const unstruck: Partial<Facts> = { strikes: [{ group: GROUP, id: "b", incarnation: 2 }] };
  it("finds a worker that was replaced although nothing was wrong with it", () => {
    const wrong = ["worker/b#1 was replaced, and nothing was wrong with it"];
    expect(foundIn(unstruck)).toEqual({ [CHECKS.needless]: wrong });
    // It ended because of that, and not the other way round.
    const ended = line({ event: "ended", id: "b", key: "key-b1", pid: 105, why: "it was asked to" });
    expect(foundIn({ ...unstruck, lines: [...GOOD.lines, ended] })).toEqual({ [CHECKS.needless]: wrong });
  });

  it.each<[string, Partial<Facts>]>([
    [
      "gave up",
      {
        lines: [
          ...GOOD.lines,
          line({ event: "ended", id: "b", key: "key-b1", pid: 105, why: "no control plane has answered" }),
        ],
      },
    ],
    ["was not wanted any more", { rows: [row("b", { state: "TERMINATING", reason: "Surplus" })] }],
    ["was silent for too long", { rows: [row("b", { state: "FAILED", silentMs: 5_001 })] }],
    ["never beat", { rows: [row("b", { state: "FAILED", silentMs: undefined } as unknown as RowSeen)] }],
  ])("lets a worker be replaced that %s", (_, changes) => {
    expect(foundIn({ ...unstruck, ...changes })).toEqual({});
  });

  it("finds a leader that nobody took over from, and a copy that failed", () => {
    const takeovers = [{ fault: "freeze the leader", former: "copy-1" }];
    expect(foundIn({ takeovers })).toEqual({
      [CHECKS.takeover]: ["no copy took over from copy-1 in time (freeze the leader)"],
    });
    expect(foundIn({ crashes: ["copy-1 ended with 1"] })).toEqual({ [CHECKS.crashes]: ["copy-1 ended with 1"] });
  });

  it.each<[string, Partial<Facts>]>([
    ["no request was sent", { requests: [] }],
    ["no request was sent twice", { deliveries: { doubledAtOnce: 0, doubledLater: 0, droppedReplies: 1 } }],
    ["no key was tried with another body", { mismatches: [] }],
    ["the ledger was not looked at", { rows: [] }],
    ["the ledger was not looked at", { epochs: [] }],
    ["no copy was heard to lead", { beliefs: [] }],
    ["no worker was killed or frozen", { faults: { ...GOOD.faults, killedWorkers: 0, frozenWorkers: 0 } }],
    ["nothing was done to the leader", { takeovers: [] }],
    ["no write of a former leader was tried", { probes: [] }],
  ])("does not say that all of it held where %s", (what, changes) => {
    expect(foundIn(changes)).toEqual({ [CHECKS.trial]: [what] });
  });

  it("has had enough once each kind of fault, and all that can become of a request, has come", () => {
    const faults = Object.fromEntries(Object.keys(GOOD.faults).map((kind) => [kind, 1])) as unknown as Facts["faults"];
    const all = { ...GOOD, faults };
    expect(isAllTried(all)).toBe(true);
    for (const kind of Object.keys(faults))
      expect(isAllTried({ ...all, faults: { ...faults, [kind]: 0 } })).toBe(false);
    expect(isAllTried({ ...all, deliveries: { ...GOOD.deliveries, droppedReplies: 0 } })).toBe(false);
    expect(isAllTried({ ...all, probes: [] })).toBe(false);
    expect(isAllTried({ ...all, requests: [request({ answers: [ANSWER] })] })).toBe(false);
    expect(isAllTried({ ...all, rows: [row("a")] })).toBe(false);
  });

  it("does not say that all of it held where no copy was there", () => {
    expect(foundIn(both({ copies: [] }))).toEqual({ [CHECKS.trial]: ["no copy was there"] });
  });
});
