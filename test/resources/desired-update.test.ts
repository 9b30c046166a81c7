import { sqliteStore } from "evenkeel/sqlite";
import type { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { DesiredResource } from "../../src/resources/resource.ts";
import { ResourceLedger } from "../../src/resources/resource-ledger.ts";
import { useTemporaryFolder } from "../support/sqlite-files.ts";
import { CALL, GROUP, setUp, thrownBy } from "./ledger-set-up.ts";

const oneMore = (resources: readonly DesiredResource[]): number => resources.length + 1;

/** Lets the time pass that retries wait for. */
async function passing<T>(clock: ManualClock, answer: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = answer.finally(() => {
    isSettled = true;
  });
  settled.catch(() => {});
  for (let turns = 0; !isSettled && turns < 10_000; turns += 1) await clock.advance(100);
  return settled;
}

describe("updateDesired", () => {
  const files = useTemporaryFolder();

  it("sets what is made of what is desired now", async () => {
    const { ledger } = setUp();
    const workers = ledger<{ size: number }>();
    expect(await workers.updateDesired((none) => [...none, { id: "b" }])).toEqual({ generation: 1 });
    const added = await workers.updateDesired((desired) => [{ id: "a", spec: { size: 2 } }, ...desired]);
    expect(added).toEqual({ generation: 2 });
    const resources = [{ id: "a", spec: { size: 2 } }, { id: "b" }];
    expect(await workers.desired()).toEqual({ generation: 2, resources });
    expect(await workers.updateDesired((desired) => desired.filter(({ id }) => id !== "b"))).toEqual({ generation: 3 });
    expect((await workers.desired()).resources).toEqual([{ id: "a", spec: { size: 2 } }]);
  });

  it("hands out an array that may be changed, and takes it back", async () => {
    const { ledger } = setUp();
    await ledger().setDesired(2);
    await ledger().updateDesired((desired) => {
      desired.push({ id: "one more" });
      return desired;
    });
    const ids = (await ledger().desired()).resources.map(({ id }) => id);
    expect(ids).toEqual(["one more", "workers-0", "workers-1"]);
  });

  it("makes no new generation where nothing is changed", async () => {
    const { ledger } = setUp();
    await ledger().setDesired([{ id: "a" }, { id: "b" }]);
    expect(await ledger().updateDesired((desired) => desired.reverse())).toEqual({ generation: 1 });
  });

  it("loses no change of 8 processes that make 5 each, though all say the same", async () => {
    const { ledger, clock } = setUp();
    const processes = Array.from({ length: 8 }, () => ledger());
    const updates = processes.flatMap((each) => Array.from({ length: 5 }, () => each.updateDesired(oneMore)));
    const generations = (await passing(clock, Promise.all(updates))).map(({ generation }) => generation);
    expect(generations.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect((await ledger().desired()).resources).toHaveLength(40);
  });

  it("loses no change of two stores on one file", async () => {
    const stores = [sqliteStore(files.folder.file("ledger.db")), sqliteStore(files.folder.file("ledger.db"))];
    const ledgers = stores.map((store) => new ResourceLedger({ store, group: GROUP, storeTimeoutMs: 60_000 }));
    await Promise.all(ledgers.flatMap((each) => Array.from({ length: 10 }, () => each.updateDesired(oneMore))));
    expect((await ledgers[0]?.desired())?.resources).toHaveLength(20);
    for (const store of stores) await store.close();
  });

  it("asks anew with what another one has set meanwhile", async () => {
    let calls = 0;
    const { ledger, clock } = setUp({}, (inner) => ({
      async setDesired(request, call) {
        calls += 1;
        const other = { group: GROUP, epoch: 0, nonce: "another's", desired: '["b"]' };
        if (calls === 2) await inner.setDesired(other, call);
        return inner.setDesired(request, call);
      },
    }));
    await ledger().setDesired([{ id: "a" }]);
    const seen: string[][] = [];
    const updated = ledger().updateDesired((desired) => {
      seen.push(desired.map(({ id }) => id));
      return [...desired, { id: "c" }];
    });
    expect(await passing(clock, updated)).toEqual({ generation: 3 });
    expect(seen).toEqual([["a"], ["b"]]);
    expect((await ledger().desired()).resources).toEqual([{ id: "b" }, { id: "c" }]);
  });

  it("comes after what was said before it, and before what is said then", async () => {
    const { ledger } = setUp();
    const workers = ledger();
    const calls = [workers.setDesired(4), workers.updateDesired(oneMore), workers.updateDesired(oneMore)];
    expect(await Promise.all([...calls, workers.setDesired(1)])).toEqual(
      [1, 2, 3, 4].map((generation) => ({ generation })),
    );
    expect((await workers.desired()).resources).toHaveLength(1);
  });

  it("throws what the change throws, and sets nothing", async () => {
    const { ledger, log } = setUp();
    const workers = ledger();
    await workers.setDesired(3);
    const no = new Error("no");
    const refused = workers.updateDesired(() => {
      throw no;
    });
    const next = workers.updateDesired(oneMore);
    expect(await thrownBy(refused)).toBe(no);
    expect(await next).toEqual({ generation: 2 });
    expect(log.count("resources.setDesired")).toBe(2);
  });

  it.each([
    ["no function", 5, "change must be a function"],
    ["an answer that is none", () => undefined, "desired must be a number or an iterable of resources"],
    ["a promise", async () => 5, "desired must be a number or an iterable of resources"],
    ["an id that comes twice", () => [{ id: "a" }, { id: "a" }], 'the id "a" comes twice'],
  ])("refuses %s by its name", async (_what, change, says) => {
    const { ledger } = setUp();
    const error = await thrownBy(ledger().updateDesired(change as never));
    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: `ResourceLedger.updateDesired: ${says}.` });
    expect(await ledger().desired()).toEqual({ generation: 0, resources: [] });
  });

  it.each(["lostReply", "hangAfter", "duplicate", "lostRequest"] as const)(
    "changes it once through a %s",
    async (fault) => {
      const { ledger, clock } = setUp({ faults: [{ on: "resources.setDesired", nth: 1, fault }] });
      expect(await passing(clock, ledger().updateDesired(oneMore))).toEqual({ generation: 1 });
      expect((await ledger().desired()).resources).toHaveLength(1);
    },
  );

  /** The first call is lost, before or after it was carried out, and others set so many generations before it is repeated. */
  function losing(what: "request" | "reply", others: number) {
    let calls = 0;
    return setUp({}, (inner) => ({
      async setDesired(request, call) {
        calls += 1;
        if (calls > 1) return inner.setDesired(request, call);
        if (what === "reply") await inner.setDesired(request, call);
        for (let index = 0; index < others; index += 1) {
          const desired = JSON.stringify({ count: 100 + index });
          await inner.setDesired({ group: GROUP, epoch: 0, nonce: `other ${index}`, desired }, call);
        }
        throw new Error("the connection was lost");
      },
    }));
  }

  it("goes on when the next generation is another's, though its own request was lost", async () => {
    const { ledger, clock } = losing("request", 1);
    expect(await passing(clock, ledger().updateDesired(oneMore))).toEqual({ generation: 2 });
    expect((await ledger().desired()).resources).toHaveLength(101);
  });

  it.each(["request", "reply"] as const)(
    "is unknown when its %s was lost and others have changed more since than it would have",
    async (what) => {
      const { ledger, clock, inner } = losing(what, 2);
      const error = await thrownBy(passing(clock, ledger().updateDesired(oneMore)));
      expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true, cause: expect.any(Error) });
      const { desired } = await inner.resources.getDesired(GROUP, CALL);
      expect(desired).toBe('{"count":101}');
    },
  );

  it("gives up when others are always faster, and has set nothing then", async () => {
    const { ledger, clock, log } = setUp({}, () => ({
      setDesired: async () => ({ status: "conflict", generation: 1 }),
    }));
    const error = await thrownBy(passing(clock, ledger().updateDesired(oneMore)));
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true });
    expect(error).not.toHaveProperty("cause");
    expect(log.count("resources.setDesired")).toBe(20);
  });

  it("goes with the epoch of a leader elsewhere, and is FENCED where that changes at each try", async () => {
    const { ledger, write, inner } = setUp();
    await write({ id: "x" }, 3);
    expect(await ledger().updateDesired(oneMore)).toEqual({ generation: 1 });
    expect(await inner.resources.getDesired(GROUP, CALL)).toMatchObject({ epoch: 3 });
    let epoch = 0;
    const restless = setUp({}, () => ({
      setDesired: async () => {
        epoch += 1;
        return { status: "fenced", epoch };
      },
    }));
    expect(await thrownBy(restless.ledger().updateDesired(oneMore))).toMatchObject({ code: "FENCED" });
  });
});
