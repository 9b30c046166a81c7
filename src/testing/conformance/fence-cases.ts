import { strict as assert } from "node:assert";
import type { Fence, WriteResult } from "../../store.ts";
import { assertLacks, assertStatus } from "./assertions.ts";
import { type ConformanceCases, withHooks } from "./bench.ts";
import { nameOf, ResourceBench, SILENCE_MS, timeless } from "./resource-bench.ts";

const LEASE = { durationMs: 600_000, token: "grant" } as const;

/** Names that some engine or language takes for one another, or for more than a name. */
const ODD_NAMES: readonly string[] = [
  ...[
    "shard",
    "Shard",
    "shard ",
    " shard",
    "shard/1",
    "shard/%",
    "shard/1:0",
    "__proto__",
    "constructor",
    "0",
    "00",
    "1",
  ],
  ...["it's; DROP TABLE", '{"name":"a"}', "e\u0301", "\u00e9", "\uffee", "\u{1f980}", "x".repeat(255)],
];

/** The epochs of parts of a group, which {@link ApplyRequest.fences} brings. */
export const fenceCases: ConformanceCases = {
  "fences alone the writes that stand under an epoch below the highest": async (bench) => {
    const ledger = new ResourceBench(bench);
    const mine = await ledger.made();
    const other = await ledger.made({ id: "web-2" });
    await ledger.decided([], { fences: [fence("a", 7), fence("b", 3)] });
    const writes = [
      ledger.updateOf(mine, { state: "FAILED", fence: "a" }),
      ledger.updateOf(other, { state: "PROVISIONED", fence: "b" }),
      ledger.creation({ id: "web-3", fence: "a" }),
      ledger.creation({ id: "web-4" }),
      ledger.creation({ fence: "b" }),
    ];
    const answer = await ledger.apply(writes, { fences: [fence("a", 6), fence("b", 4)] });
    assertStatus(answer, "decided", "apply");
    assert.deepEqual(answer.fences, [fence("a", 7)]);
    assert.deepEqual(answer.results.map(said), [
      "fenced 7",
      "applied web-2/1",
      "fenced 7",
      "applied web-4/1",
      "conflict web-1/1",
    ]);
    assert.deepEqual(timeless(await ledger.get()), timeless(mine));
    assert.deepEqual(await ledger.listed(), ["web-1/1", "web-2/1", "web-4/1"]);
  },

  "answers a fenced write with the higher epoch and nothing else": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.made();
    await ledger.decided([], { fences: [fence("a", 7)] });
    const writes = [
      ledger.updateOf(row, { fence: "a" }),
      ledger.updateOf(row, { id: "nobody", fence: "a" }),
      ledger.creation({ fence: "a" }),
      ledger.creation({ id: "web-2", fence: "a" }),
    ];
    const results = await ledger.decided(writes, { fences: [fence("a", 0)] });
    assert.deepEqual(
      results,
      writes.map(() => ({ status: "fenced", epoch: 7 })),
    );
  },

  "lets in writes of the epoch that was seen, and tells no fences then": async (bench) => {
    const ledger = new ResourceBench(bench);
    for (const id of ["web-1", "web-2"]) {
      const answer = await ledger.apply([ledger.creation({ id, fence: "a" })], { fences: [fence("a", 7)] });
      assertStatus(answer, "decided", "apply");
      assert.deepEqual(answer.results.map(said), [`applied ${id}/1`]);
      assertLacks(answer, "fences", "a batch of which no fence is too low");
    }
  },

  "keeps a fence though no write stands under it": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([ledger.creation()], { fences: [fence("a", 4)] });
    assert.deepEqual(await tooLow(ledger, fence("a", 3)), [fence("a", 4)]);
  },

  "keeps a fence of a batch without writes, in a group that is new and in one that is there": async (bench) => {
    const ledger = new ResourceBench(bench);
    assert.deepEqual(await ledger.decided([], { fences: [fence("a", 4)] }), []);
    assert.deepEqual(await tooLow(ledger, fence("a", 3)), [fence("a", 4)]);
    assert.deepEqual(await ledger.decided([], { fences: [fence("a", 6), fence("b", 1)] }), []);
    assert.deepEqual(await tooLow(ledger, fence("a", 5), fence("b", 0)), [fence("a", 6), fence("b", 1)]);
  },

  "keeps a fence though nothing of its batch applies": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.made();
    await ledger.conflicting(ledger.creation({ fence: "a" }), { fences: [fence("a", 4)] });
    assert.deepEqual(await tooLow(ledger, fence("a", 3)), [fence("a", 4)]);
  },

  "keeps the fences of a batch of which another is too low": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("b", 9)] });
    const fences = [fence("a", 4), fence("b", 8), fence("c", 5)];
    const write = ledger.creation({ fence: "b" });
    assert.deepEqual((await ledger.decided([write], { fences })).map(said), ["fenced 9"]);
    assert.deepEqual(await tooLow(ledger, fence("c", 4), fence("a", 3)), [fence("c", 5), fence("a", 4)]);
    assert.deepEqual(await tooLow(ledger, fence("b", 8)), [fence("b", 9)], "a lower epoch takes nothing back");
  },

  "tells the fences that are too low in the order of the batch": async (bench) => {
    const ledger = new ResourceBench(bench);
    const names = ["m", "z", "a", "k"];
    await ledger.decided([], { fences: names.map((name, index) => fence(name, 10 + index)) });
    const asked = [fence("z", 1), fence("k", 13), fence("a", 11), fence("new", 0), fence("m", 9)];
    assert.deepEqual(await tooLow(ledger, ...asked), [fence("z", 11), fence("a", 12), fence("m", 10)]);
  },

  "neither checks nor keeps the fences of a batch that is fenced as a whole": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { epoch: 5, fences: [fence("a", 7)] });
    const fenced = { status: "fenced", epoch: 5 };
    const write = ledger.creation({ fence: "a" });
    assert.deepEqual(await ledger.apply([write], { epoch: 4, fences: [fence("a", 6)] }), fenced);
    assert.deepEqual(await ledger.apply([write], { epoch: 4, fences: [fence("a", 9), fence("b", 9)] }), fenced);
    const answer = await ledger.apply([write], { epoch: 5, fences: [fence("a", 7), fence("b", 0)] });
    assertStatus(answer, "decided", "apply");
    assertLacks(answer, "fences", "a batch of which no fence is too low");
    assert.deepEqual(answer.results.map(said), ["applied web-1/1"]);
  },

  "keeps the group's epoch and status though a fence is too low": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 7)] });
    const write = ledger.creation({ fence: "a" });
    await ledger.decided([write], { epoch: 3, status: "progressing", fences: [fence("a", 6)] });
    assert.deepEqual(await ledger.desired(), { generation: 0, status: "progressing", epoch: 3 });
  },

  "takes an epoch of a part for none of the group": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.applied(ledger.creation({ fence: "a" }), { epoch: 2, fences: [fence("a", 9)] });
    assert.equal((await ledger.desired()).epoch, 2);
    await ledger.applied(ledger.creation({ id: "web-2" }), { epoch: 2 });
    assert.deepEqual(await ledger.desire("10", 2), { status: "set", generation: 1 });
    await ledger.decided([], { epoch: 12 });
    const write = ledger.creation({ id: "web-3", fence: "a" });
    await ledger.applied(write, { epoch: 12, fences: [fence("a", 9)] });
    const lower = await ledger.apply([], { epoch: 12, fences: [fence("a", 8)] });
    assertStatus(lower, "decided", "apply");
    assert.deepEqual(lower.fences, [fence("a", 9)], "a higher epoch of the group changes no fence");
  },

  "lets a write that stands under no fence go by the group's epoch alone": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 7)] });
    await ledger.applied(ledger.creation());
    await ledger.applied(ledger.creation({ id: "web-2" }), { fences: [] });
    await ledger.applied(ledger.creation({ id: "web-3" }), { fences: [fence("a", 1)] });
  },

  "fences what it would have known again": async (bench) => {
    const ledger = new ResourceBench(bench);
    const creation = ledger.creation({ fence: "a" });
    const row = await ledger.applied(creation, { fences: [fence("a", 1)] });
    const update = ledger.updateOf(row, { state: "PROVISIONED", fence: "a" });
    const after = await ledger.applied(update, { fences: [fence("a", 1)] });
    await ledger.decided([], { fences: [fence("a", 2)] });
    const again = await ledger.decided([creation, update], { fences: [fence("a", 1)] });
    assert.deepEqual(again.map(said), ["fenced 2", "fenced 2"]);
    assert.deepEqual(timeless(await ledger.applied(update, { fences: [fence("a", 2)] })), timeless(after));
  },

  "decides the other writes of a batch as if those that are fenced were not there": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 7)] });
    const { cursor } = await ledger.changes();
    const writes = [
      ledger.creation({ state: "FAILED", spec: "fenced", lease: LEASE, fence: "a" }),
      ledger.creation({ spec: "let in" }),
      ledger.creation({ after: 1, fence: "a" }),
      ledger.creation({ after: 1, state: "PROVISIONED", lease: LEASE }),
    ];
    const results = await ledger.decided(writes, { fences: [fence("a", 6)] });
    assert.deepEqual(results.map(said), ["fenced 7", "applied web-1/1", "fenced 7", "applied web-1/2"]);
    assert.deepEqual(
      (await ledger.list()).map(({ state, spec }) => [state, spec]),
      [
        ["PENDING", "let in"],
        ["PROVISIONED", undefined],
      ],
    );
    const changed = await ledger.changes(cursor);
    assert.deepEqual(changed.rows.map(nameOf), ["web-1/1", "web-1/2"]);
  },

  "knows a group whose batch brought nothing but fences": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 1)] });
    assert.deepEqual(await ledger.resources.listGroups({ limit: 10 }, bench.call), [ledger.group]);
    assert.deepEqual(await ledger.desired(), { generation: 0, epoch: 0 });
    assert.deepEqual(await ledger.list(), [], "a fence is no resource");
    assert.deepEqual((await ledger.changes()).rows, [], "a fence is no change");
  },

  "lets a fence of one group be nothing to another": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 9)] });
    await ledger.applied(ledger.creation({ fence: "a" }), { group: "others", fences: [fence("a", 1)] });
    assert.deepEqual(await tooLow(ledger, fence("a", 8)), [fence("a", 9)]);
    const answer = await ledger.apply([], { group: "others", fences: [fence("a", 0)] });
    assertStatus(answer, "decided", "apply");
    assert.deepEqual(answer.fences, [fence("a", 1)]);
  },

  "keeps names of fences apart, as they are": async (bench) => {
    const ledger = new ResourceBench(bench);
    const fences = ODD_NAMES.map((name, index) => fence(name, 10 + index));
    assert.deepEqual(await tooLow(ledger, ...fences), undefined);
    const lower = fences.map(({ name, epoch }) => fence(name, epoch - 1)).reverse();
    assert.deepEqual(await tooLow(ledger, ...lower), [...fences].reverse());
    for (const each of fences) {
      const [result] = await ledger.decided([ledger.creation({ fence: each.name })], {
        fences: [fence(each.name, each.epoch - 1)],
      });
      assert.deepEqual(result, { status: "fenced", epoch: each.epoch });
    }
  },

  "takes 0 for an epoch of a part, and one as large as a whole number can be": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.applied(ledger.creation({ fence: "a" }), { fences: [fence("a", 0)] });
    await ledger.applied(ledger.creation({ id: "web-2", fence: "a" }), { fences: [fence("a", 0)] });
    const top = Number.MAX_SAFE_INTEGER;
    await ledger.applied(ledger.creation({ id: "web-3", fence: "a" }), { fences: [fence("a", top)] });
    assert.deepEqual(await tooLow(ledger, fence("a", top - 1)), [fence("a", top)]);
  },

  "takes a batch of a thousand writes under as many fences": async (bench) => {
    const ledger = new ResourceBench(bench);
    const fences = Array.from({ length: 1_000 }, (_, index) => fence(`shard ${index}`, 1_000 + index));
    const writes = fences.map(({ name }, index) => ledger.creation({ id: `web-${index}`, fence: name }));
    for (const result of await ledger.decided(writes, { fences })) assertStatus(result, "applied", "a write");
    const next = fences.map(({ name, epoch }, index) => fence(name, index % 2 === 0 ? epoch - 1 : epoch + 1));
    const answer = await ledger.apply(writes, { fences: next });
    assertStatus(answer, "decided", "apply");
    assert.deepEqual(
      answer.fences,
      fences.filter((_, index) => index % 2 === 0),
    );
    for (const [index, result] of answer.results.entries()) {
      if (index % 2 === 0) assert.deepEqual(result, { status: "fenced", epoch: 1_000 + index });
      else assertStatus(result, "applied", "a write that came again");
    }
  },

  "keeps the highest of many that come at once": async (bench) => {
    const ledger = new ResourceBench(bench);
    const epochs = [3, 16, 1, 9, 12, 5, 14, 2, 11, 7, 15, 4, 10, 6, 13, 8];
    const answers = await Promise.all(
      epochs.map((epoch) => ledger.apply([ledger.creation({ fence: "a" })], { fences: [fence("a", epoch)] })),
    );
    const statuses = [];
    for (const [index, answer] of answers.entries()) {
      assertStatus(answer, "decided", "apply");
      const [result] = answer.results;
      statuses.push(result?.status);
      const [told] = answer.fences ?? [];
      assert.equal(result?.status === "fenced", told !== undefined, "a write is fenced with its fence");
      if (told !== undefined) assert.ok(told.epoch > (epochs[index] as number), "what is told is higher");
    }
    assert.equal(statuses.filter((status) => status === "applied").length, 1);
    assert.deepEqual(await tooLow(ledger, fence("a", 15)), [fence("a", 16)]);
  },

  "never forgets a fence, though all that was written under it is purged": async (bench) => {
    const ledger = new ResourceBench(bench);
    const row = await ledger.applied(ledger.creation({ fence: "a" }), { fences: [fence("a", 7)] });
    await ledger.applied(ledger.updateOf(row, { state: "TERMINATED", fence: "a" }), { fences: [fence("a", 7)] });
    await bench.advance(SILENCE_MS);
    assert.deepEqual(await ledger.purge(), { purged: 1 });
    assert.deepEqual(await ledger.list(), []);
    assert.deepEqual(await ledger.purge(), { purged: 0 }, "a fence is nothing that is purged");
    assert.deepEqual(await tooLow(ledger, fence("a", 6)), [fence("a", 7)]);
  },

  "knows the fences that came through another store object": withHooks(["reopen"], async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("a", 7)] });
    const later = new ResourceBench(await bench.reopen());
    assert.deepEqual(await tooLow(later, fence("a", 6)), [fence("a", 7)]);
    assert.equal(await tooLow(later, fence("a", 8)), undefined);
    assert.deepEqual(await tooLow(ledger, fence("a", 7)), [fence("a", 8)]);
  }),

  "refuses a write under a fence that its batch does not have, and does nothing of the batch": async (bench) => {
    const ledger = new ResourceBench(bench);
    await ledger.decided([], { fences: [fence("b", 1)] });
    const writes = [ledger.creation(), ledger.creation({ id: "web-2", fence: "b" })];
    await assertRefused(() => ledger.apply(writes, { epoch: 5 }));
    await assertRefused(() => ledger.apply(writes, { epoch: 5, fences: [] }));
    await assertRefused(() => ledger.apply(writes, { epoch: 5, fences: [fence("a", 9), fence("B", 9)] }));
    assert.deepEqual(await ledger.list(), []);
    assert.equal((await ledger.desired()).epoch, 0);
    assert.equal(await tooLow(ledger, fence("a", 0)), undefined);
  },

  "refuses a batch that has a fence twice, and does nothing of it": async (bench) => {
    const ledger = new ResourceBench(bench);
    for (const epochs of [
      [7, 7],
      [7, 8],
    ]) {
      const fences = [fence("b", 9), ...epochs.map((epoch) => fence("a", epoch))];
      await assertRefused(() => ledger.apply([ledger.creation({ fence: "a" })], { epoch: 5, fences }));
      await assertRefused(() => ledger.apply([], { epoch: 5, fences }));
    }
    assert.deepEqual(await ledger.list(), []);
    assert.equal((await ledger.desired()).epoch, 0);
    assert.equal(await tooLow(ledger, fence("a", 0), fence("b", 0)), undefined);
  },
};

function fence(name: string, epoch: number): Fence {
  return { name, epoch };
}

/** What a batch of nothing but fences is told of them. */
async function tooLow(ledger: ResourceBench, ...fences: readonly Fence[]): Promise<readonly Fence[] | undefined> {
  const answer = await ledger.apply([], { fences });
  assertStatus(answer, "decided", "apply");
  return answer.fences;
}

function said(result: WriteResult): string {
  if (result.status === "fenced") return `fenced ${result.epoch}`;
  return result.row === undefined ? result.status : `${result.status} ${nameOf(result.row)}`;
}

/** A mistake of whoever calls, and not something that a store may answer. */
async function assertRefused(call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(async () => call(), TypeError);
}
