import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type LedgerStore, withIdempotency } from "../../src/index.ts";

/** A ledger whose engine has no room left, when asked to. */
export interface FillableLedger {
  readonly store: LedgerStore;
  /** From now on the engine refuses what needs more room. */
  fill(): Promise<void> | void;
  makeRoom(): Promise<void> | void;
  close(): Promise<void>;
}

/** Also for how long an outcome that finds no room is sent again and again. */
const LEASE_MS = 3_000;
/** For how long a claim that finds no room is; a busy machine answers any other within it. */
const STORE_TIMEOUT_MS = 5_000;

/**
 * What happens when an engine has no room for a claim, or for an outcome.
 *
 * @param options `outcomes` says what the engine does with the outcome of what was claimed before.
 */
export function describeFullEngine(
  open: () => Promise<FillableLedger>,
  { outcomes }: { readonly outcomes: "refused" | "taken" },
): void {
  let ledger: FillableLedger;

  beforeEach(async () => {
    ledger = await open();
  });

  afterEach(async () => {
    await ledger.makeRoom();
    await ledger.close();
  });

  function payment() {
    const seen = { runs: 0, events: [] as string[], during: async (): Promise<void> => {} };
    const pay = withIdempotency(
      async (_: object) => {
        seen.runs += 1;
        await seen.during();
        // Nothing that an engine could make smaller.
        return `${seen.runs}: ${randomBytes(300_000).toString("base64")}`;
      },
      {
        store: ledger.store,
        operation: "pay",
        // So that a claim needs room of its own too.
        scope: "s".repeat(1_000),
        leaseMs: LEASE_MS,
        storeTimeoutMs: STORE_TIMEOUT_MS,
        onEvent: ({ type }) => seen.events.push(type),
      },
    );
    return { pay, seen };
  }

  it("replays what it has, runs nothing that it can't claim, and works again with room (I19)", async () => {
    const { pay, seen } = payment();
    const before = await pay({}, { key: "before" });
    await ledger.fill();
    // Engines have some slack: what still fits is served as ever.
    let refused: unknown;
    for (let n = 0; n < 300 && refused === undefined; n += 1) {
      const runs = seen.runs;
      const failed = await pay({}, { key: `full-${n}` }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failed !== undefined) {
        refused = failed;
        expect(seen.runs, "what can't be claimed does not run").toBe(runs);
      } else if (seen.events.includes("complete_failed")) break;
    }
    if (refused !== undefined) expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true });
    expect(refused !== undefined || seen.events.includes("complete_failed"), "the engine was never full").toBe(true);
    expect(await pay.run({}, { key: "before" })).toMatchObject({ replayed: true, value: before });
    await ledger.makeRoom();
    expect(await pay.run({}, { key: "with room" })).toMatchObject({ replayed: false, attempt: 1 });
  });

  if (outcomes === "taken") {
    it("takes the outcome of what runs already (I5)", async () => {
      const { pay, seen } = payment();
      seen.during = async () => ledger.fill();
      const first = await pay.run({}, { key: "k" });
      expect(seen.events).toEqual(["claimed", "completed"]);
      expect(await pay.run({}, { key: "k" })).toEqual({ ...first, replayed: true });
    });
  } else {
    it("gives the caller its value when only the outcome finds no room, and keeps the claim (I12, I19)", async () => {
      const { pay, seen } = payment();
      // Up to the brim with outcomes that fit.
      seen.during = async () => {
        if (seen.runs === 1) await ledger.fill();
      };
      let last = "";
      for (let n = 0; n < 300 && !seen.events.includes("complete_failed"); n += 1) {
        last = `k${n}`;
        expect(await pay({}, { key: last }).catch((error: unknown) => error)).toMatch(/^[0-9]+: /);
      }
      expect(seen.events).toContain("complete_failed");
      await ledger.makeRoom();
      const next = await pay.run({}, { key: last }).catch((error: unknown) => error);
      // Its lease may have run out while the engine was asked again and again.
      if (next instanceof Error) {
        expect(next).toMatchObject({ code: "IN_PROGRESS" });
        await new Promise((resolve) => setTimeout(resolve, LEASE_MS));
        expect(await pay.run({}, { key: last })).toMatchObject({ replayed: false, attempt: 2 });
      } else expect(next).toMatchObject({ replayed: false, attempt: 2 });
    });
  }
}
