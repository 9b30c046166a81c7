import { afterAll, beforeAll, describe, it } from "vitest";
import { type LedgerStore, withIdempotency } from "../../src/index.ts";
import { type Fault, faultyStore } from "../../src/testing/index.ts";
import { type OpenLedger, openLedger } from "../support/open-ledger.ts";

const OPERATIONS = ["claim", "recordStep", "complete"] as const;

const FAULTS: readonly (readonly [string, Fault])[] = [
  ["whose request is lost", "lostRequest"],
  ["whose reply is lost", "lostReply"],
  ["that is carried out and never answered", "hangAfter"],
  ["that never arrives", "hangBefore"],
  ["that is delivered twice", "duplicate"],
  ["that is delivered again 40 ms later", { duplicateAfterMs: 40 }],
  ["that arrives after it was sent again", { delayMs: 4_900 }],
];

/** What is silent is sent again after half of it, and a busy machine has the other half to answer that, also one that stands still. */
const STORE_TIMEOUT_MS = 9_000;
/** Where nothing is answered in time. */
const IN_VAIN_MS = 1_000;

/**
 * What happens to the messages between a process and a real engine: the engine sees requests twice, late, or without anybody
 * waiting for the answer.
 *
 * @param newLedger - the URL of a ledger of its own, see `openLedger`.
 */
export function describeDeliveryFaults(newLedger: () => Promise<string>): void {
  let ledger: OpenLedger;

  beforeAll(async () => {
    ledger = await openLedger(await newLedger());
  });

  afterAll(() => ledger.close());

  /** A function with a step, over a store with one fault. */
  function transfer(store: LedgerStore, storeTimeoutMs = STORE_TIMEOUT_MS) {
    const runs: number[] = [];
    const call = withIdempotency(
      async (amount: number, ctx) => {
        runs.push(ctx.fencingToken);
        const reserved = await ctx.step("reserve", () => ({ amount }));
        return { ...reserved, token: ctx.fencingToken };
      },
      { store, operation: "transfer", inFlight: "wait", storeTimeoutMs },
    );
    return { call, runs };
  }

  describe.each(OPERATIONS)("a %s", (operation) => {
    // Each has a key of its own, and most of them wait.
    it.concurrent.for(FAULTS)(
      "%s leaves one run, one outcome and the same answer for all (I1, I4, I9, I12)",
      async ([name, fault], { expect }) => {
        const key = `${operation} ${name}`;
        const faulty = faultyStore(ledger.store, { faults: [{ on: `executions.${operation}`, nth: 1, fault }] });
        const { call, runs } = transfer(faulty);
        const first = await call.run(100, { key });
        expect(first).toMatchObject({ replayed: false, attempt: 1, value: { amount: 100, token: runs[0] } });
        expect(runs).toHaveLength(1);
        const others = transfer(ledger.store);
        const replays = await Promise.all(Array.from({ length: 5 }, () => others.call.run(100, { key })));
        for (const replay of replays) expect(replay).toMatchObject({ replayed: true, attempt: 1, value: first.value });
        expect(others.runs).toEqual([]);
      },
    );
  });

  it("keeps a key free whose claim was granted after its caller had gone (I13, I19)", async ({ expect }) => {
    const delayMs = IN_VAIN_MS + 100;
    const faulty = faultyStore(ledger.store, { faults: [{ on: "executions.claim", fault: { delayMs } }] });
    const { call, runs } = transfer(faulty, IN_VAIN_MS);
    await expect(call(100, { key: "k" })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(runs).toEqual([]);
    // Both tries arrive late, and their grants are given back by those who come too late for them.
    await new Promise((resolve) => setTimeout(resolve, IN_VAIN_MS));
    const later = await transfer(ledger.store).call.run(100, { key: "k" });
    expect(later).toMatchObject({ replayed: false, attempt: 1 });
  });

  it("lets no stray completion of an earlier claim through (I2)", async ({ expect }) => {
    const { executions } = ledger.store;
    const bounds = { timeoutMs: 20_000 };
    const claim = { id: "ab".repeat(32), operation: "pay", scope: "", leaseMs: 60_000, retentionMs: 60_000 };
    const request = (nonce: string) => ({ ...claim, nonce, onAbandoned: "takeover" as const });
    const first = await executions.claim(request("a"), bounds);
    if (first.status !== "acquired") throw new Error("not acquired");
    const holder = { id: claim.id, token: first.token, nonce: "a" };
    await executions.release({ ...holder, as: { mode: "forget" } }, bounds);
    const second = await executions.claim(request("b"), bounds);
    if (second.status !== "acquired") throw new Error("not acquired");
    expect(second.token).toBeGreaterThan(first.token);
    const outcome = { kind: "value", bytes: new Uint8Array([1]) } as const;
    const stray = await executions.complete({ ...holder, outcome, retentionMs: 60_000 }, bounds);
    expect(stray).toEqual({ status: "lost" });
    expect(await executions.get(claim.id, bounds)).toMatchObject({ status: "running", token: second.token });
  });
}
