import { memoryStore } from "evenkeel/memory";
import { CallLog, type FaultPlan, faultyStore, ManualClock, seededRandom } from "evenkeel/testing";
import { afterEach, describe, expect, it } from "vitest";
import { EvenkeelError } from "../../src/errors.ts";
import { type RowWrite, RowWriter } from "../../src/resources/row-writer.ts";
import type { ApplyRequest, Fence, LedgerStore } from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };
const clocks: ManualClock[] = [];

afterEach(() => {
  for (const clock of clocks.splice(0)) expect(clock.pendingTimers).toBe(0);
});

interface Parts {
  [name: string]: number | undefined;
  p: number;
  q: number;
}

/** A writer whose ids begin with the name of their part: `p-1` stands under `p`. */
function setUp(plan: FaultPlan = {}, change: (inner: LedgerStore) => LedgerStore = (inner) => inner) {
  const clock = new ManualClock();
  clocks.push(clock);
  const log = new CallLog();
  const inner = memoryStore({ clock });
  const store = faultyStore(change(inner), { clock, onCall: log.onCall, ...plan });
  const epochs: Parts = { p: 1, q: 5 };
  const group = { epoch: 0 };
  const fence = (id: string): Fence | undefined => {
    const [name = ""] = id.split("-");
    const epoch = epochs[name];
    return epoch === undefined ? undefined : { name, epoch };
  };
  const terms = { store, group: "web", epoch: () => group.epoch, fence, clock, storeTimeoutMs: 5_000 };
  const writer = new RowWriter({ ...terms, random: seededRandom(1) });
  const requests = () => log.calls.map(({ request }) => request as ApplyRequest);
  const raise = (name: string, epoch: number) =>
    inner.resources.apply({ group: "web", epoch: 0, writes: [], fences: [{ name, epoch }] }, CALL);
  return { clock, inner, writer, log, epochs, group, requests, raise };
}

/** `0 p=1,q=5: p-1/p q-1/q`: the batch's epoch and fences, its writes and theirs. */
function shortOf({ epoch, fences = [], writes }: ApplyRequest): string {
  const named = fences.map((each) => `${each.name}=${each.epoch}`).join();
  return `${epoch} ${named}: ${writes.map(({ id, fence }) => `${id}/${fence ?? ""}`).join(" ")}`;
}

function made(id: string): RowWrite {
  return { kind: "create", id, after: 0, state: "PENDING", generation: 3, reason: "Missing", attempt: 1 };
}

describe("writing under fences", () => {
  it("refuses the writes of a part that a later writer has, and no others of the batch", async () => {
    const { writer, raise, inner, requests } = setUp();
    await raise("p", 2);
    const answers = await Promise.all(["p-1", "q-1", "p-2", "none"].map((id) => writer.write(made(id))));
    expect(answers.map(({ status }) => status)).toEqual(["fenced", "applied", "fenced", "applied"]);
    expect(answers[0]).toEqual({ status: "fenced", epoch: 2 });
    expect(requests().map(shortOf)).toEqual(["0 p=1,q=5: p-1/p q-1/q p-2/p none/"]);
    const rows = await inner.resources.list({ group: "web", limit: 10 }, CALL);
    expect(rows.map(({ id }) => id)).toEqual(["none", "q-1"]);
  });

  it("sends no fences where there are none", async () => {
    const { writer, requests } = setUp();
    await writer.write(made("none"));
    expect(requests()[0]).not.toHaveProperty("fences");
    expect(requests()[0]?.writes[0]).not.toHaveProperty("fence");
  });

  it("asks at each write, and sends a part's two epochs in two steps", async () => {
    const { writer, requests, epochs } = setUp();
    const first = ["p-1", "q-1"].map((id) => writer.write(made(id)));
    epochs.p = 2;
    const later = ["q-2", "p-2", "p-3"].map((id) => writer.write(made(id)));
    const answers = await Promise.all([...first, ...later]);
    expect(requests().map(shortOf)).toEqual(["0 p=1,q=5: p-1/p q-1/q q-2/q", "0 p=2: p-2/p p-3/p"]);
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill("applied"));
  });

  it("splits by the group's epoch as well", async () => {
    const { writer, requests, epochs, group } = setUp();
    const writes = [writer.write(made("p-1"))];
    group.epoch = 4;
    writes.push(writer.write(made("p-2")));
    epochs.q = 6;
    writes.push(writer.write(made("q-1")));
    await Promise.all(writes);
    expect(requests().map(shortOf)).toEqual(["0 p=1: p-1/p", "4 p=1,q=6: p-2/p q-1/q"]);
  });

  it("stays in step where a part's epoch changes and changes back", async () => {
    const { writer, requests, epochs } = setUp();
    const writes = [];
    for (const epoch of [1, 2, 1]) {
      epochs.p = epoch;
      writes.push(writer.write(made(`p-${writes.length}`)));
    }
    const answers = await Promise.all(writes);
    expect(requests().map(shortOf)).toEqual(["0 p=1: p-0/p", "0 p=2: p-1/p", "0 p=1: p-2/p"]);
    expect(answers.at(-1)).toEqual({ status: "fenced", epoch: 2 });
  });

  it("sends each of many parts once in a step", async () => {
    const { writer, requests, epochs } = setUp();
    for (let part = 0; part < 300; part += 1) epochs[`s${part}`] = part;
    const ids = Array.from({ length: 900 }, (_, n) => `s${n % 300}-${n}`);
    const answers = await Promise.all(ids.map((id) => writer.write(made(id))));
    expect(answers.every(({ status }) => status === "applied")).toBe(true);
    expect(requests().map(({ writes, fences }) => [writes.length, fences?.length])).toEqual([
      [500, 300],
      [400, 300],
    ]);
  });

  it("is fenced as a whole by the group's epoch", async () => {
    const { writer, inner } = setUp();
    await inner.resources.apply({ group: "web", epoch: 7, writes: [] }, CALL);
    expect(await writer.write(made("p-1"))).toEqual({ status: "fenced", epoch: 7 });
    expect(await writer.checkEpoch("p-1")).toEqual({ status: "fenced", epoch: 7 });
    // Nor did it keep the epoch of the part.
    const low = { group: "web", epoch: 7, writes: [], fences: [{ name: "p", epoch: 0 }] };
    expect(await inner.resources.apply(low, CALL)).not.toHaveProperty("fences");
  });

  it("keeps the fence in a repetition after a lost answer, which is fenced by who came in between", async () => {
    const { writer, clock, raise, requests } = setUp({
      faults: [{ on: "resources.apply", nth: 1, fault: "lostRequest" }],
    });
    const written = writer.write(made("p-1"));
    await clock.advance(0);
    await raise("p", 9);
    await clock.advance(1_000);
    expect(await written).toEqual({ status: "fenced", epoch: 9 });
    expect(requests().map(shortOf)).toEqual(["0 p=1: p-1/p", "0 p=1: p-1/p"]);
  });

  it("rejects a write alone whose fence can't be told", async () => {
    const { writer, epochs } = setUp();
    Object.defineProperty(epochs, "r", {
      get: () => {
        throw new TypeError("no epoch");
      },
    });
    const answers = await Promise.allSettled(["p-1", "r-1", "q-1"].map((id) => writer.write(made(id))));
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(answers[1]).toMatchObject({ reason: { message: "no epoch" } });
  });

  it("keeps the fences of each half where a row can't be read", async () => {
    const { writer, raise, requests } = setUp({}, (inner) => ({
      ...inner,
      resources: {
        ...inner.resources,
        apply: async (request, call) => {
          if (request.writes.some(({ id }) => id === "q-bad")) throw new EvenkeelError("RECORD_CORRUPT", "damaged");
          return inner.resources.apply(request, call);
        },
      },
    }));
    await raise("p", 2);
    const answers = await Promise.allSettled(["p-1", "q-1", "none", "q-bad"].map((id) => writer.write(made(id))));
    expect(answers).toMatchObject([
      { value: { status: "fenced", epoch: 2 } },
      { value: { status: "applied" } },
      { value: { status: "applied" } },
      { reason: { code: "RECORD_CORRUPT" } },
    ]);
    expect(requests().map(shortOf)).toEqual([
      "0 p=1,q=5: p-1/p q-1/q none/ q-bad/q",
      "0 p=1,q=5: p-1/p q-1/q",
      "0 q=5: none/ q-bad/q",
      "0 : none/",
      "0 q=5: q-bad/q",
    ]);
  });

  it("writes the other parts where the fence of one can't be read", async () => {
    const { writer } = setUp({}, (inner) => ({
      ...inner,
      resources: {
        ...inner.resources,
        apply: async (request, call) => {
          if (request.fences?.some(({ name }) => name === "p")) throw new EvenkeelError("RECORD_CORRUPT", "damaged");
          return inner.resources.apply(request, call);
        },
      },
    }));
    const answers = await Promise.allSettled(["q-1", "p-1", "q-2"].map((id) => writer.write(made(id))));
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  it("holds a row over a lost renewal under the part's present epoch alone", async () => {
    const { writer, raise } = setUp();
    const lease = { durationMs: 1_000, token: "grant" } as const;
    const granted = await writer.write({ ...made("p-1"), lease });
    if (granted.status !== "applied") throw new Error(granted.status);
    await raise("p", 2);
    expect(await writer.updateHeld(granted.row, { state: "PROVISIONED" })).toEqual({ status: "fenced", epoch: 2 });
  });
});

describe("asking whether one may still write", () => {
  it("keeps the part's epoch, and changes no row", async () => {
    const { writer, raise, requests, inner } = setUp();
    expect(await writer.checkEpoch("q-1")).toEqual({ status: "admitted" });
    expect(requests().map(shortOf)).toEqual(["0 q=5: "]);
    expect(await raise("q", 4)).toMatchObject({ fences: [{ name: "q", epoch: 5 }] });
    expect(await inner.resources.list({ group: "web", limit: 10 }, CALL)).toEqual([]);
  });

  it("is told the higher epoch of the part, and is not by another part's", async () => {
    const { writer, raise } = setUp();
    await raise("q", 8);
    expect(await writer.checkEpoch("q-1")).toEqual({ status: "fenced", epoch: 8 });
    expect(await writer.checkEpoch("p-1")).toEqual({ status: "admitted" });
    expect(await writer.checkEpoch("none")).toEqual({ status: "admitted" });
  });
});
