import { memoryStore } from "evenkeel/memory";
import { CallLog, faultyStore, ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { ResourceLedger } from "../../src/resources/resource-ledger.ts";
import { CALL, GROUP } from "./ledger-set-up.ts";

const SET = "resources.setDesired";

/** A ledger whose store can be put back to its beginning while it is used, and can lose a connection. */
function setUp() {
  const clock = new ManualClock();
  const log = new CallLog();
  let store = memoryStore({ clock });
  let isLost = false;
  const resources = Object.fromEntries(
    Object.keys(store.resources).map((name) => [
      name,
      (...args: unknown[]) =>
        (store.resources as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(...args),
    ]),
  ) as unknown as typeof store.resources;
  const followed = faultyStore(
    { ...store, resources },
    { clock, onCall: log.onCall, decide: () => (isLost ? "lostRequest" : undefined) },
  );
  return {
    clock,
    ledger: new ResourceLedger({ store: followed, group: GROUP, clock }),
    setCalls: () => log.count(SET),
    /** As a leader of this epoch does before it looks. */
    lead: (epoch: number) => store.resources.apply({ group: GROUP, epoch, writes: [] }, CALL),
    epoch: async () => (await store.resources.getDesired(GROUP, CALL)).epoch,
    restore: () => {
      store = memoryStore({ clock });
    },
    lose: () => {
      isLost = true;
    },
    find: () => {
      isLost = false;
    },
  };
}

describe("the epoch that a ledger follows", () => {
  it("is forgotten soon, so that a ledger that was restored counts from where it was", async () => {
    const { ledger, clock, lead, epoch, restore } = setUp();
    await lead(9);
    await ledger.setDesired(1);
    restore();
    await clock.advance(2_000);
    await ledger.setDesired(2);
    expect(await epoch()).toBe(0);
    await ledger.provision("a", { create: async () => {} });
    expect(await lead(2)).toMatchObject({ status: "decided" });
  });

  it("is forgotten soon however often it is written in between", async () => {
    const { ledger, clock, lead, epoch, restore, setCalls } = setUp();
    await lead(9);
    for (let count = 1; count <= 30; count += 1) {
      await ledger.setDesired(count);
      await clock.advance(100);
    }
    // The first is refused twice over: by its epoch, and two seconds later again.
    expect(setCalls()).toBe(32);
    await clock.advance(1_000);
    restore();
    await ledger.setDesired(31);
    expect(await epoch()).toBe(0);
  });

  it("is forgotten when the store fails: it may be another one that answers next", async () => {
    const { ledger, clock, lead, epoch, restore, lose, find } = setUp();
    await lead(9);
    await ledger.setDesired(1);
    lose();
    const set = ledger.setDesired(2);
    await clock.advance(0);
    restore();
    find();
    await clock.advance(100);
    await set;
    expect(await epoch()).toBe(0);
  });
});
