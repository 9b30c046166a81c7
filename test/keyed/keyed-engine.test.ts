import { type KeyedEngine, type KeyedTransaction, keyedStore, type LedgerStore } from "evenkeel/store";
import { describe, expect, it } from "vitest";

const CALL = { timeoutMs: 1_000 };

/** A transaction that keeps nothing, but for what is said. */
function transaction(overrides: object = {}): KeyedTransaction {
  return { get: () => undefined, set: () => {}, delete: () => {}, keys: () => [], ...overrides };
}

function engine(overrides: object = {}, tx = transaction()): KeyedEngine {
  return { name: "myStore", now: () => 1_000, transact: async (work) => work(tx), ...overrides };
}

describe("what keyedStore is called with", () => {
  const call = (...given: unknown[]) => (keyedStore as (...given: unknown[]) => LedgerStore)(...given);

  it.each([
    ["nothing", [], "the engine must be an object"],
    ["null", [null], "the engine must be an object"],
    ["an engine without a name", [{}], "the engine's name must be a well-formed text"],
    ["an engine without now", [engine({ now: undefined })], "the engine's now must be a function"],
    ["an engine without transact", [engine({ transact: undefined })], "the engine's transact must be a function"],
    ["a close that is none", [engine({ close: true })], "the engine's close must be a function or left out"],
    ["options that are none", [engine(), null], "options must be an object"],
    ["a misspelt option", [engine(), { storeKey: false }], "storeKey is not an option"],
    ["an option of another type", [engine(), { storeKeys: "no" }], "storeKeys must be true or false"],
  ])("is refused where it is %s", (_what, given, says) => {
    const refusal = { code: "INVALID_OPTIONS", message: expect.stringContaining(`keyedStore: ${says}`) };
    expect(() => call(...given)).toThrow(expect.objectContaining(refusal));
  });

  it("may be an engine of a class of the caller's own, which has more than it must", async () => {
    class Engine implements KeyedEngine {
      readonly name = "myStore";
      readonly path = "/ledger";
      now(): number {
        return this.path.length;
      }
      async transact<T>(work: (tx: KeyedTransaction) => T): Promise<T> {
        return work(transaction());
      }
    }
    await expect(keyedStore(new Engine()).executions.get("a", CALL)).resolves.toBeUndefined();
  });
});

describe("an engine that answers what its types rule out", () => {
  const misconfigured = (what: string) => ({ code: "STORE_MISCONFIGURED", message: `myStore: the engine's ${what}.` });
  const operations: Readonly<Record<string, (store: LedgerStore) => Promise<unknown>>> = {
    "executions.get": ({ executions }) => executions.get("a", CALL),
    "executions.list": ({ executions }) => executions.list({ limit: 1 }, CALL),
    "leases.get": ({ leases }) => leases.get("a", CALL),
    "resources.listGroups": ({ resources }) => resources.listGroups({ limit: 1 }, CALL),
  };

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1, "1000", undefined, Promise.resolve(1_000)])(
    "is told of a time that is %s",
    async (now) => {
      const store = keyedStore(engine({ now: () => now }));
      for (const operation of Object.values(operations)) {
        await expect(operation(store)).rejects.toMatchObject(misconfigured("now() must answer epoch milliseconds"));
      }
    },
  );

  const GET = "get() must answer a string or undefined, and no promise of one";

  it.each([[Promise.resolve(undefined)], [null], [Buffer.from("{}")], [{}]])(
    "is told of a get of %s",
    async (stored) => {
      const store = keyedStore(engine({}, transaction({ get: () => stored, keys: () => ["execution:a"] })));
      for (const name of ["executions.get", "executions.list", "leases.get"]) {
        await expect(operations[name]?.(store), name).rejects.toMatchObject(misconfigured(GET));
      }
    },
  );

  it("is told of keys that are a promise", async () => {
    const store = keyedStore(engine({}, transaction({ keys: async () => [] })));
    const told = misconfigured("keys() must answer an iterable, and no promise of one");
    await expect(operations["executions.list"]?.(store)).rejects.toMatchObject(told);
    await expect(operations["resources.listGroups"]?.(store)).rejects.toMatchObject(told);
  });
});
