import { strict as assert } from "node:assert";
import { inspect } from "node:util";
import { assertStatus, assertThere } from "./assertions.ts";
import {
  assertCorrupt,
  type Bench,
  type Conditional,
  type ConformanceCase,
  type ConformanceCases,
  type Held,
} from "./bench.ts";
import { ResourceBench } from "./resource-bench.ts";
import type { RecordDamage, RecordName, StoreCapabilities } from "./subject.ts";

const DAMAGES: Readonly<Record<RecordDamage, string>> = {
  newerFormat: "of a newer format",
  truncated: "cut in the middle",
  missingField: "without one of its fields",
  wrongType: "with a field of another type",
  swapped: "that is another record's",
};

/** What must never be told by an error. */
const SECRET = "very-secret";
const DURATION_MS = 600_000;
const HELD = { durationMs: DURATION_MS, token: "grant" } as const;

/** A record that can't be understood: nobody gets anything of it, and it stays for people to look at. */
export const corruptCases: ConformanceCases = Object.fromEntries(
  (Object.keys(DAMAGES) as RecordDamage[]).flatMap((damage) => [
    named(
      damage,
      "executions",
      "a running record",
      "is RECORD_CORRUPT for everybody, and stays as it is",
      async (bench) => {
        await refusesAll(bench, damage, await secretRecord(bench));
      },
    ),
    named(
      damage,
      "executions",
      "a completed record",
      "is RECORD_CORRUPT for everybody, and stays as it is",
      async (bench) => {
        const held = await secretRecord(bench);
        await bench.complete(held.holder, bench.outcome(SECRET));
        await refusesAll(bench, damage, held);
      },
    ),
    named(damage, "executions", "a record", "is left out of lists, and hides no other", async (bench) => {
      await several(bench, damage);
      for (const readers of ["list", "recent"] as const) {
        const listed = await bench.executions[readers]({ limit: 10 }, bench.call);
        assert.deepEqual(listed.map(({ id }) => id).sort(), [bench.id("a"), bench.id("c")].sort());
      }
    }),
    [
      `a record ${DAMAGES[damage]} is not deleted by a purge, which deletes the others`,
      {
        unless: (capabilities) => {
          const { corruptStays } = capabilities;
          return (
            missing(capabilities, damage, "executions") ?? (corruptStays ? undefined : "the engine deletes by time")
          );
        },
        holds: async (bench) => {
          const { raw, before } = await several(bench, damage);
          await bench.advance(bench.leaseMs + bench.retentionMs);
          await bench.executions.purge({ limit: 10 }, bench.call);
          await bench.executions.purge({ limit: 10 }, bench.call);
          assert.deepEqual(await raw(), before, "the record is as it was");
          await assertCorrupt(bench.get(bench.id("b")));
          assert.deepEqual(await bench.executions.purge({ limit: 10 }, bench.call), { purged: 0 });
        },
      },
    ],
    named(
      damage,
      "leases",
      "a lease",
      "is RECORD_CORRUPT for everybody, left out of lists, and stays",
      async (bench) => {
        const leases = [];
        for (const name of ["leader", "other"]) {
          const request = { name, holder: SECRET, nonce: bench.nonce(), durationMs: DURATION_MS };
          const acquired = await bench.leases.acquire(request, bench.call);
          assertStatus(acquired, "acquired", "acquire");
          leases.push({ request, holder: { name, holder: SECRET, epoch: acquired.epoch } });
        }
        const [{ request, holder }] = leases as [(typeof leases)[0]];
        const damaged = await bench.corrupt({ part: "leases", name: "leader" }, damage);
        const before = await damaged.raw();
        const { call } = bench;
        await tellsNothing(bench.leases.acquire(request, call));
        await tellsNothing(bench.leases.acquire({ ...request, nonce: bench.nonce(), holder: "b" }, call));
        await tellsNothing(bench.leases.renew({ ...holder, durationMs: DURATION_MS }, call));
        await tellsNothing(bench.leases.release(holder, call));
        await tellsNothing(bench.leases.get("leader", call));
        assert.deepEqual(await damaged.raw(), before, "the lease is as it was");
        const listed = await bench.leases.list("", call);
        assert.deepEqual(
          listed.map(({ name }) => name),
          ["other"],
        );
      },
    ),
    named(
      damage,
      "resources",
      "a resource",
      "is RECORD_CORRUPT for whoever names it, and stays as it is",
      async (bench) => {
        const ledger = new ResourceBench(bench);
        const [row, other] = await ledger.madeAll(["web-1", "web-2"], { spec: SECRET, lease: HELD });
        assertThere(row, "the first row");
        assertThere(other, "the second row");
        const damaged = await bench.corrupt({ part: "resources", group: ledger.group, id: "web-1" }, damage);
        const before = await damaged.raw();
        await tellsNothing(ledger.get("web-1"));
        await tellsNothing(ledger.apply([ledger.updateOf(row, { state: "PROVISIONED" })]));
        await tellsNothing(ledger.apply([ledger.creation({ id: "web-1", after: 1 })]));
        await tellsNothing(ledger.apply([ledger.updateOf(other, { state: "FAILED" }), ledger.updateOf(row)]));
        await tellsNothing(ledger.resources.heartbeat({ group: ledger.group, beats: [{ id: "web-1" }] }, bench.call));
        assert.deepEqual(await damaged.raw(), before, "the resource is as it was");
        assert.equal((await ledger.get("web-2"))?.state, "PENDING", "a batch is one step");
      },
    ),
    named(
      damage,
      "fences",
      "a fence",
      "is RECORD_CORRUPT for each batch that has it, and nothing of the batch stays",
      async (bench) => {
        const ledger = new ResourceBench(bench);
        const { group } = ledger;
        const fences = (...epochs: readonly number[]) => {
          return ["a", "b"].slice(-epochs.length).map((name, at) => ({ name, epoch: epochs[at] as number }));
        };
        const row = await ledger.made({ spec: SECRET });
        await ledger.decided([], { fences: fences(7, 7) });
        const damaged = await bench.corrupt({ part: "fences", group, name: "a" }, damage);
        const before = await damaged.raw();
        const writes = [ledger.updateOf(row, { state: "FAILED" }), ledger.creation({ id: "web-2", fence: "b" })];
        for (const epoch of [6, 7, 8]) {
          await tellsNothing(ledger.apply(writes, { epoch: 3, status: SECRET, fences: fences(epoch, 8).reverse() }));
          await tellsNothing(ledger.apply([], { epoch: 3, fences: fences(epoch, 8) }));
        }
        assert.deepEqual(await damaged.raw(), before, "the fence is as it was");
        assert.deepEqual(await ledger.desired(), { generation: 0, epoch: 0 });
        assert.deepEqual(
          (await ledger.list()).map(({ id, state }) => [id, state]),
          [["web-1", "PENDING"]],
        );
        const higher = await ledger.apply(writes, { fences: fences(6) });
        assertStatus(higher, "decided", "a batch without the fence");
        assert.deepEqual(higher.fences, fences(7));
        assert.equal(higher.results[0]?.status, "applied");
      },
    ),
  ]),
);

function named(
  damage: RecordDamage,
  part: RecordName["part"],
  subject: string,
  predicate: string,
  holds: ConformanceCase,
): [string, Conditional] {
  return [
    `${subject} ${DAMAGES[damage]} ${predicate}`,
    { unless: (capabilities) => missing(capabilities, damage, part), holds },
  ];
}

function missing({ damages }: Required<StoreCapabilities>, damage: RecordDamage, part: RecordName["part"]) {
  return damages[part]?.includes(damage) ? undefined : `capabilities.damages.${part} has no ${damage}`;
}

function secretRecord(bench: Bench): Promise<Held> {
  return bench.hold({ key: SECRET, scope: SECRET, operation: SECRET });
}

async function refusesAll(bench: Bench, damage: RecordDamage, { holder }: Held): Promise<void> {
  // What a swapped record is swapped with.
  await bench.hold({ id: bench.id("another"), scope: SECRET });
  const damaged = await bench.corrupt({ part: "executions", id: holder.id }, damage);
  const before = await damaged.raw();
  await tellsNothing(bench.claim());
  await tellsNothing(bench.claim({ nonce: holder.nonce }));
  await tellsNothing(bench.claim({ onAbandoned: "report" }));
  await tellsNothing(bench.get());
  await tellsNothing(bench.renew(holder));
  await tellsNothing(bench.step(holder, 0, SECRET));
  await tellsNothing(bench.complete(holder));
  await tellsNothing(bench.executions.seize(bench.seizure(holder.token), bench.call));
  await tellsNothing(bench.forget(holder));
  await tellsNothing(bench.grantRetry(holder));
  assert.deepEqual(await damaged.raw(), before, "the record is as it was");
}

/** Three records, of which the second is damaged. */
async function several(bench: Bench, damage: RecordDamage) {
  for (const name of ["a", "b", "c"]) await bench.hold({ id: bench.id(name) });
  const damaged = await bench.corrupt({ part: "executions", id: bench.id("b") }, damage);
  return { raw: () => damaged.raw(), before: await damaged.raw() };
}

async function tellsNothing(answer: Promise<unknown>): Promise<void> {
  const error = await assertCorrupt(answer);
  assert.ok(!inspect(error, { depth: 10 }).includes(SECRET), "the error tells nothing of what is stored");
}
