import { describe, expect, it } from "vitest";
import { EvenkeelError } from "../../src/errors.ts";
import type { HeartbeatRequest } from "../../src/store.ts";
import { GROUP, setUp, thrownBy } from "./ledger-set-up.ts";

describe("a heartbeat", () => {
  it("is stamped with the store's time", async () => {
    const { ledger, write, row, clock } = setUp();
    await write({ state: "PROVISIONED" });
    await clock.advance(5_000);
    expect(await ledger().heartbeat("a")).toEqual({ accepted: true, superseded: false });
    expect(await row()).toMatchObject({ lastHeartbeatAt: clock.now(), version: 1 });
  });

  it("of a replaced incarnation is superseded, and never revives it", async () => {
    const { ledger, write, changeTo, inner } = setUp();
    const old = await changeTo(await write({ state: "PROVISIONED" }), "FAILED");
    await write({ after: 1, state: "PROVISIONED" });
    expect(await ledger().heartbeat("a", { incarnation: 1 })).toEqual({ accepted: false, superseded: true });
    expect(await ledger().heartbeat("a", { incarnation: 2 })).toEqual({ accepted: true, superseded: false });
    const rows = await inner.resources.list({ group: GROUP, limit: 10 }, { timeoutMs: 1_000 });
    expect(rows[0]).toMatchObject({ incarnation: 1, state: "FAILED", version: old.version });
    expect(rows[0]?.lastHeartbeatAt).toBeUndefined();
  });

  it("of a resource that is not there is neither accepted nor superseded", async () => {
    const { ledger } = setUp();
    expect(await ledger().heartbeat("a")).toEqual({ accepted: false, superseded: false });
  });

  it.each([
    ["", undefined, "id must be"],
    [7 as never, undefined, "id must be"],
    ["a", 3 as never, "options must be an object"],
    ["a", { incarnation: 0 }, "incarnation must be a positive whole number"],
    ["a", { incarnation: -1 }, "incarnation must be a positive whole number"],
    ["a", { incarnation: 1.5 }, "incarnation must be a positive whole number"],
    ["a", { incarnation: "1" as never }, "incarnation must be a positive whole number"],
    ["a", { at: 7 } as never, "at is not an option"],
  ])("is refused before it is sent: %j %j", async (id, beat, says) => {
    const { ledger, log } = setUp();
    const error = await thrownBy(ledger().heartbeat(id, beat));
    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: expect.stringContaining(says) });
    expect(log.total).toBe(0);
  });
});

describe("heartbeats of one turn", () => {
  const sent = (log: ReturnType<typeof setUp>["log"]) =>
    log.calls
      .filter(({ operation }) => operation === "resources.heartbeat")
      .map(({ request }) => (request as HeartbeatRequest).beats);

  it("go to the store in one call, the same one once, and each is answered by its own", async () => {
    const { ledger, write, log } = setUp();
    await write({ id: "a", state: "PROVISIONED" });
    await write({ id: "b", state: "PROVISIONED" });
    const workers = ledger();
    const answers = await Promise.all([
      workers.heartbeat("a"),
      workers.heartbeat("none"),
      workers.heartbeat("a"),
      workers.heartbeat("a", { incarnation: 1 }),
      workers.heartbeat("b"),
    ]);
    expect(answers.map(({ accepted }) => accepted)).toEqual([true, false, true, true, true]);
    expect(sent(log)).toEqual([[{ id: "a" }, { id: "none" }, { id: "a", incarnation: 1 }, { id: "b" }]]);
    await workers.heartbeat("a");
    expect(sent(log)).toHaveLength(2);
  });

  it("are at most 1,000 a call", async () => {
    const { ledger, log } = setUp();
    const workers = ledger();
    const answers = await Promise.all(Array.from({ length: 2_500 }, (_, index) => workers.heartbeat(`w${index}`)));
    expect(answers).toHaveLength(2_500);
    expect(sent(log).map(({ length }) => length)).toEqual([1_000, 1_000, 500]);
  });

  it("are repeated together when an answer is lost", async () => {
    const { ledger, write, clock } = setUp({ faults: [{ on: "resources.heartbeat", nth: 1, fault: "lostReply" }] });
    await write({ state: "PROVISIONED" });
    const workers = ledger();
    const beats = Promise.all([workers.heartbeat("a"), workers.heartbeat("b")]);
    await clock.advance(1_000);
    expect(await beats).toMatchObject([{ accepted: true }, { accepted: false }]);
  });

  it("fail together when the store does not answer, and the next ones are sent again", async () => {
    const { ledger, clock } = setUp({
      faults: [1, 2].map((nth) => ({ on: "resources.heartbeat", nth, fault: "hangBefore" })),
    });
    const workers = ledger();
    const beats = Promise.allSettled([workers.heartbeat("a"), workers.heartbeat("b")]);
    await clock.advance(5_000);
    for (const beat of await beats) expect(beat).toMatchObject({ reason: { code: "STORE_UNAVAILABLE" } });
    expect(await workers.heartbeat("a")).toMatchObject({ accepted: false });
  });

  it("are heard though one is for a row that can't be read", async () => {
    const { ledger, write } = setUp({}, (inner) => ({
      heartbeat: async (request, call) => {
        if (request.beats.some(({ id }) => id === "w5")) throw new EvenkeelError("RECORD_CORRUPT", "w5 is damaged");
        return inner.heartbeat(request, call);
      },
    }));
    for (let index = 0; index < 9; index += 1) await write({ id: `w${index}`, state: "PROVISIONED" });
    const workers = ledger();
    const beats = await Promise.allSettled(Array.from({ length: 9 }, (_, index) => workers.heartbeat(`w${index}`)));
    const heard = beats.map((beat) => (beat.status === "fulfilled" ? beat.value.accepted : beat.reason.code));
    expect(heard).toEqual([true, true, true, true, true, "RECORD_CORRUPT", true, true, true]);
  });

  it("are not left waiting by a store that answers too few", async () => {
    const { ledger } = setUp({}, () => ({ heartbeat: async () => [{ status: "accepted" }] }));
    const workers = ledger();
    const [first, second] = await Promise.allSettled([workers.heartbeat("a"), workers.heartbeat("b")]);
    expect([first?.status, second?.status]).toEqual(["fulfilled", "rejected"]);
  });
});
