import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, describe, expect, it } from "vitest";
import { EvenkeelError } from "../../src/errors.ts";
import { type RowWrite, RowWriter } from "../../src/resources/row-writer.ts";
import type { ApplyRequest, LedgerStore, ResourceRow } from "../../src/store.ts";

const clocks: ManualClock[] = [];

afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

function setUp(plan: FaultPlan = {}, change: (inner: LedgerStore) => LedgerStore = (inner) => inner) {
  const clock = new ManualClock();
  clocks.push(clock);
  const log = new CallLog();
  const inner = memoryStore({ clock });
  const store = faultyStore(change(inner), { clock, onCall: log.onCall, ...plan });
  const now = { epoch: 0 };
  const terms = { store, group: "web", epoch: () => now.epoch, clock, storeTimeoutMs: 5_000 };
  const writer = new RowWriter({ ...terms, random: seededRandom(1) });
  const batches = () => log.calls.map(({ request }) => (request as ApplyRequest).writes.map(({ id }) => id));
  return { clock, inner, writer, log, now, batches };
}

function made(id: string): RowWrite {
  return { kind: "create", id, after: 0, state: "PENDING", spec: "1", generation: 3, reason: "Missing", attempt: 1 };
}

async function applied(written: Promise<{ status: string; row?: ResourceRow }>): Promise<ResourceRow> {
  const { status, row } = await written;
  expect(status).toBe("applied");
  return row as ResourceRow;
}

describe("writing rows", () => {
  it("sends what is asked for in one turn in one step, each answered for itself, in order", async () => {
    const { writer, batches } = setUp();
    const answers = await Promise.all(["a", "b", "a"].map((id) => writer.write(made(id))));
    expect(answers.map(({ status }) => status)).toEqual(["applied", "applied", "conflict"]);
    await writer.write(made("c"));
    expect(batches()).toEqual([["a", "b", "a"], ["c"]]);
  });

  it("sends at most 500 writes in one step", async () => {
    const { writer, batches } = setUp();
    const answers = await Promise.all(Array.from({ length: 1_201 }, (_, at) => writer.write(made(`id-${at}`))));
    expect(answers.every(({ status }) => status === "applied")).toBe(true);
    expect(batches().map(({ length }) => length)).toEqual([500, 500, 201]);
  });

  it("sends fewer where their specs are large", async () => {
    const { writer, batches } = setUp();
    const spec = "x".repeat(1_048_576);
    const ids = Array.from({ length: 10 }, (_, at) => `id-${at}`);
    const answers = await Promise.all(ids.map((id) => writer.write({ ...made(id), spec })));
    expect(answers.every(({ status }) => status === "applied")).toBe(true);
    expect(batches().map(({ length }) => length)).toEqual([4, 4, 2]);
  });

  it("sends nothing before it is asked to", async () => {
    const { clock, log } = setUp();
    await clock.advance(10_000);
    expect(log.total).toBe(0);
  });

  it("asks for the epoch at each write, and never sends two epochs in one step", async () => {
    const { writer, log, now } = setUp();
    const first = [writer.write(made("a")), writer.write(made("b"))];
    now.epoch = 3;
    await Promise.all([...first, writer.write(made("c"))]);
    const requests = log.calls.map(({ request }) => request as ApplyRequest);
    expect(requests.map(({ epoch, writes }) => [epoch, writes.length])).toEqual([
      [0, 2],
      [3, 1],
    ]);
  });

  it("is fenced by a higher epoch, which is told", async () => {
    const { writer, inner } = setUp();
    await inner.resources.apply({ group: "web", epoch: 7, writes: [] }, { timeoutMs: 1_000 });
    expect(await Promise.all([writer.write(made("a")), writer.write(made("b"))])).toEqual([
      { status: "fenced", epoch: 7 },
      { status: "fenced", epoch: 7 },
    ]);
    expect(await writer.checkEpoch("a")).toEqual({ status: "fenced", epoch: 7 });
  });

  it("finds that it is not fenced without writing a row", async () => {
    const { writer, inner } = setUp();
    expect(await writer.checkEpoch("a")).toEqual({ status: "admitted" });
    expect(await inner.resources.list({ group: "web", limit: 10 }, { timeoutMs: 1_000 })).toEqual([]);
  });

  it.each(["lostReply", "hangAfter", "duplicate"] as const)("writes once when the answer fails: %s", async (fault) => {
    const { writer, clock, log } = setUp({ faults: [{ on: "resources.apply", nth: 1, fault }] });
    const written = writer.write(made("a"));
    await clock.advance(5_000);
    expect(await written).toMatchObject({ status: "applied", row: { version: 1 } });
    const nonces = log.calls.map(({ request }) => (request as ApplyRequest).writes[0]?.nonce);
    expect(new Set(nonces).size).toBe(1);
  });

  it("names each write for itself", async () => {
    const { writer, log } = setUp();
    await Promise.all([writer.write(made("a")), writer.write(made("b"))]);
    const nonces = log.calls.flatMap(({ request }) => (request as ApplyRequest).writes.map(({ nonce }) => nonce));
    expect(new Set(nonces).size).toBe(2);
  });

  it("throws STORE_UNAVAILABLE when its time is up without an answer", async () => {
    const { writer, clock } = setUp({ faults: [{ on: "resources.apply", fault: "hangBefore" }] });
    const written = writer.write(made("a"));
    written.catch(() => {});
    await clock.advance(5_000);
    await expect(written).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("writes the others of a batch in which one row can't be read", async () => {
    const { writer } = setUp({}, (inner) => ({
      ...inner,
      resources: {
        ...inner.resources,
        apply: async (request, call) => {
          if (request.writes.some(({ id }) => id === "c")) throw new EvenkeelError("RECORD_CORRUPT", "c is damaged.");
          return inner.resources.apply(request, call);
        },
      },
    }));
    const answers = await Promise.allSettled(["a", "b", "c", "d", "e"].map((id) => writer.write(made(id))));
    expect(answers.map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    expect(answers[2]).toMatchObject({ reason: { code: "RECORD_CORRUPT" } });
  });
});

describe("changing a row", () => {
  it("keeps what it does not name, apart from the lease", async () => {
    const { writer } = setUp();
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const pending = await applied(writer.write({ ...made("a"), lease } as RowWrite));
    const row = await applied(writer.update(pending, { state: "PROVISIONED", externalId: "vm-1" }));
    expect(row).toMatchObject({ spec: "1", generation: 3, reason: "Missing", attempt: 1, externalId: "vm-1" });
    expect(row.leaseExpiresAt).toBeUndefined();
    const bare = await applied(writer.update(row, { spec: undefined, externalId: undefined, reason: undefined }));
    expect(bare).toMatchObject({ state: "PROVISIONED", generation: 3, version: 3 });
    expect(["spec", "externalId", "reason"].filter((field) => field in bare)).toEqual([]);
  });

  it("that another has changed is a conflict", async () => {
    const { writer } = setUp();
    const row = await applied(writer.write(made("a")));
    await writer.update(row, { attempt: 2 });
    expect(await writer.update(row, { attempt: 3 })).toMatchObject({ status: "conflict", row: { attempt: 2 } });
  });

  it("that fell silent is a conflict when it is not silent enough", async () => {
    const { writer, clock } = setUp();
    const row = await applied(writer.write({ ...made("a"), state: "PROVISIONED" } as RowWrite));
    await clock.advance(100);
    expect(await writer.update(row, { state: "FAILED", ifSilentForMs: 100 })).toMatchObject({ status: "conflict" });
    expect(await writer.update(row, { state: "FAILED", ifSilentForMs: 99 })).toMatchObject({ status: "applied" });
  });

  it("that is held goes over our own renewal whose answer was lost, and over nobody else's", async () => {
    const { writer } = setUp();
    const grant = { durationMs: 1_000, token: "grant" } as const;
    const held = await applied(writer.write({ ...made("a"), lease: grant } as RowWrite));
    await writer.update(held, { lease: { durationMs: 1_000, token: "keep" } });
    const done = await applied(writer.updateHeld(held, { attempt: 5 }));
    expect(done).toMatchObject({ attempt: 5, version: 3 });
    const mine = await applied(writer.update(done, { lease: grant }));
    await writer.update(mine, { lease: grant });
    expect(await writer.updateHeld(mine, { attempt: 9 })).toMatchObject({ status: "conflict", row: { attempt: 5 } });
  });

  it("that is held does not go over another state, nor over a lease that was given up", async () => {
    const { writer } = setUp();
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const held = await applied(writer.write({ ...made("a"), lease } as RowWrite));
    const freed = await applied(writer.update(held, {}));
    expect(await writer.updateHeld(held, { attempt: 9 })).toMatchObject({ status: "conflict" });
    await writer.update(freed, { state: "PROVISIONED", lease: { durationMs: 1_000, token: "keep" } });
    expect(await writer.updateHeld(held, { attempt: 9 })).toMatchObject({ status: "conflict" });
  });
});
