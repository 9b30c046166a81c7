import { EvenkeelError, type KeyedEngine, type KeyedTransaction, keyedStore, type LedgerStore } from "evenkeel/store";
import {
  type ConformanceSubject,
  ManualClock,
  type RecordDamage,
  type RecordName,
  type StoreCapabilities,
} from "evenkeel/testing";

const ALL: readonly RecordDamage[] = ["newerFormat", "truncated", "missingField", "wrongType", "swapped"];

export const KEYED_CAPABILITIES: StoreCapabilities = {
  exactTime: true,
  watch: "shared",
  hooks: ["reopen", "transact", "stall"],
  damages: { ledger: ["newerFormat", "truncated"], executions: ALL, leases: ALL, resources: ALL, fences: ALL },
};

/** What may go wrong in {@link KeyedLedger}: the parts that it is put together from. */
export interface LedgerParts {
  readonly ledger: KeyedLedger;
  readonly engine: KeyedEngine;
}

/** A ledger of texts in memory that any number of store objects share, with everything that a store can have. */
export class KeyedLedger implements ConformanceSubject {
  readonly clock = new ManualClock();
  texts = new Map<string, string>();
  readonly store: LedgerStore;
  readonly watchers = new Map<object, { readonly id: string; readonly wake: () => void }>();
  readonly #assemble: (parts: LedgerParts) => LedgerStore;
  #stalled: Promise<void> | undefined;

  /** @param assemble - makes each store object. Defaults to {@link completeStore}. */
  constructor(assemble: (parts: LedgerParts) => LedgerStore = completeStore) {
    this.#assemble = assemble;
    this.store = this.#open();
  }

  advance(ms: number): Promise<void> {
    return this.clock.advance(ms);
  }

  async reopen(): Promise<LedgerStore> {
    return this.#open();
  }

  async corrupt(record: RecordName, damage: RecordDamage) {
    const key = keyOf(this.texts, record);
    this.texts.set(key, damagedText(this.texts, key, damage));
    return { raw: async () => this.texts.get(key) };
  }

  async transact(work: (tx: unknown) => void | Promise<void>, end: "commit" | "rollback"): Promise<void> {
    const draft = new Map(this.texts);
    const tx = { ledger: this, isOpen: true, transaction: transactionOver(draft) };
    try {
      await work(tx);
    } finally {
      tx.isOpen = false;
    }
    if (end === "commit") this.texts = draft;
  }

  async stall(): Promise<() => Promise<void>> {
    let goOn = (): void => {};
    this.#stalled = new Promise((resolve) => {
      goOn = resolve;
    });
    return async () => goOn();
  }

  async dispose(): Promise<void> {
    await this.store.close();
  }

  #open(): LedgerStore {
    const engine: KeyedEngine = {
      name: "the keyed ledger",
      now: () => this.clock.now(),
      transact: async (work, { timeoutMs }) => {
        const deadline = this.clock.monotonic() + timeoutMs;
        await this.#stalled;
        if (this.clock.monotonic() >= deadline) throw new EvenkeelError("STORE_UNAVAILABLE", "It came too late.");
        if (this.texts.has("newer")) throw new EvenkeelError("STORE_MISCONFIGURED", "The ledger is newer.");
        const draft = new Map(this.texts);
        const result = work(transactionOver(draft));
        this.texts = draft;
        return result;
      },
    };
    return this.#assemble({ ledger: this, engine });
  }
}

/** {@link keyedStore} with what it leaves to the engine: watching, and completion in the user's transaction. */
export function completeStore({ ledger, engine }: LedgerParts): LedgerStore {
  const store = keyedStore(engine);
  const { executions } = store;
  const settling =
    <Request extends { readonly id: string }, Call, Result>(
      operation: (request: Request, call: Call) => Promise<Result>,
    ) =>
    async (request: Request, call: Call): Promise<Result> => {
      const result = await operation(request, call);
      for (const { id, wake } of ledger.watchers.values()) if (id === request.id) wake();
      return result;
    };
  return {
    ...store,
    executions: {
      ...executions,
      complete: settling(executions.complete),
      release: settling(executions.release),
      async completeInTransaction(request, tx) {
        const { isOpen, transaction } = openTransaction(ledger, tx);
        if (!isOpen) throw new EvenkeelError("INVALID_OPTIONS", "The transaction has ended.");
        const inside = keyedStore({ ...engine, transact: async (work) => work(transaction) });
        return inside.executions.complete(request, { timeoutMs: 1_000 });
      },
      watch(id, wake) {
        const watcher = {};
        ledger.watchers.set(watcher, { id, wake });
        return () => ledger.watchers.delete(watcher);
      },
    },
  };
}

/** @throws EvenkeelError `INVALID_OPTIONS`. */
export function openTransaction(ledger: KeyedLedger, tx: unknown) {
  const own = tx as {
    readonly ledger: unknown;
    readonly isOpen: boolean;
    readonly transaction: KeyedTransaction;
  } | null;
  if (own?.ledger !== ledger) throw new EvenkeelError("INVALID_OPTIONS", "It is no transaction of this ledger.");
  return own;
}

function transactionOver(texts: Map<string, string>): KeyedTransaction {
  return {
    get: (key) => texts.get(key),
    set: (key, text) => texts.set(key, text),
    delete: (key) => texts.delete(key),
    keys: (prefix) => [...texts.keys()].filter((key) => key.startsWith(prefix)),
  };
}

/** Where the text of a record is kept; for a resource that of its newest incarnation. */
export function keyOf(texts: ReadonlyMap<string, string>, record: RecordName): string {
  switch (record.part) {
    case "executions":
      return `execution:${record.id}`;
    case "leases":
      return `lease:${record.name}`;
    case "resources": {
      const prefix = `resource:${JSON.stringify([record.group, record.id]).slice(0, -1)},`;
      return [...texts.keys()].filter((key) => key.startsWith(prefix)).at(-1) ?? prefix;
    }
    case "fences":
      return `fence:${JSON.stringify([record.group, record.name])}`;
    case "ledger":
      return "newer";
  }
}

export function damagedText(texts: ReadonlyMap<string, string>, key: string, damage: RecordDamage): string {
  const text = texts.get(key) ?? "of a ledger";
  switch (damage) {
    case "newerFormat":
      return text.replace('"format":1', '"format":2');
    case "truncated":
      return text.slice(0, text.length / 2);
    case "missingField":
      return text.replace(/"nonce":"[^"]*",?|"name":"[^"]*",(?="epoch")/, "");
    case "wrongType":
      return text.replace(/"(attempt|epoch)":(\d+)/, '"$1":"$2"');
    case "swapped": {
      const [kind = ""] = key.split(":", 1);
      return [...texts].find(([other]) => other !== key && other.startsWith(kind))?.[1] ?? "";
    }
  }
}
