import { isEvenkeelError, type KeyedEngine, type KeyedTransaction, keyedStore, type LedgerStore } from "evenkeel/store";
import { completeStore, KeyedLedger, type LedgerParts, openTransaction } from "../support/keyed-ledger.ts";

type Breakage = (parts: LedgerParts) => LedgerStore;

const CALL = { timeoutMs: 1_000 };

/** Changes what steps see of the texts. */
function seeing(change: (tx: KeyedTransaction) => Partial<KeyedTransaction>): Breakage {
  return ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = (work, call) =>
      engine.transact((tx) => work({ ...tx, ...change(tx) }), call);
    return completeStore({ ledger, engine: { ...engine, transact } });
  };
}

const BREAKAGES: Readonly<Record<string, Breakage>> = {
  "changes nothing": completeStore,

  // ------------------------------------------------------------------------------------------------ corruption
  "takes a record that was cut for none": seeing((tx) => ({
    get: (key) => (isJson(tx.get(key)) ? tx.get(key) : undefined),
  })),
  "reads records of newer formats as its own": seeing((tx) => ({
    get: (key) => tx.get(key)?.replace('"format":2', '"format":1'),
  })),
  "takes a number that became a text for a number": seeing((tx) => ({
    get: (key) => tx.get(key)?.replace(/"(attempt|epoch)":"(\d+)"/, '"$1":$2'),
  })),
  "does without a nonce": seeing((tx) => ({
    get: (key) => {
      const text = tx.get(key);
      return text?.includes('"nonce"') ? text : text?.replace('"createdAt"', '"nonce":"","createdAt"');
    },
  })),
  "does not see that a record is another's": seeing((tx) => ({
    get: (key) => {
      const [, id] = /^execution:(.*)$/.exec(key) ?? [];
      return id === undefined ? tx.get(key) : tx.get(key)?.replace(/"id":"[^"]*"/, `"id":"${id}"`);
    },
  })),
  "tells what it could not read": seeing((tx) => ({
    get: (key) => {
      const text = tx.get(key);
      if (text !== undefined && !isJson(text)) throw new Error(`can't read ${text}`);
      return text;
    },
  })),
  "takes a fence that it can't read for none": seeing((tx) => ({
    get: (key) => (key.startsWith("fence:") && !isReadable(tx.get(key)) ? undefined : tx.get(key)),
  })),
  "keeps the fences of a batch that fails": ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = (work, call) => {
      const set = (tx: KeyedTransaction) => (key: string, text: string) => {
        if (key.startsWith("fence:")) ledger.texts.set(key, text);
        tx.set(key, text);
      };
      return engine.transact((tx) => work({ ...tx, set: set(tx) }), call);
    };
    return completeStore({ ledger, engine: { ...engine, transact } });
  },
  "removes a record that it can't read, when it is asked for": ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = async (work, call) => {
      try {
        return await engine.transact(work, call);
      } catch (error) {
        for (const key of ledger.texts.keys()) if (!isReadable(ledger.texts.get(key))) ledger.texts.delete(key);
        throw error;
      }
    };
    return completeStore({ ledger, engine: { ...engine, transact } });
  },
  "purges what it can't read": (parts) => {
    const store = completeStore(parts);
    return {
      ...store,
      executions: {
        ...store.executions,
        async purge(request, call) {
          const { texts } = parts.ledger;
          for (const key of texts.keys()) if (!isReadable(texts.get(key))) texts.delete(key);
          return store.executions.purge(request, call);
        },
      },
    };
  },
  "lists nothing where one record is broken": (parts) => {
    const store = completeStore(parts);
    const list: typeof store.executions.list = async (request, call) => {
      const ids = [...parts.ledger.texts.keys()].flatMap((key) => /^execution:(.*)$/.exec(key)?.[1] ?? []);
      for (const id of ids) await store.executions.get(id, call);
      return store.executions.list(request, call);
    };
    return { ...store, executions: { ...store.executions, list } };
  },

  // ------------------------------------------------------------------------------------------------- reopening
  "begins its tokens anew when it is opened": (parts) => {
    parts.ledger.texts.delete("counter");
    return completeStore(parts);
  },
  "counts its tokens in the store object": ({ ledger, engine }) => {
    let counter: string | undefined;
    const own: Breakage = seeing((tx) => ({
      get: (key) => (key === "counter" ? counter : tx.get(key)),
      set(key, text) {
        if (key === "counter") counter = text;
        tx.set(key, text);
      },
    }));
    return own({ ledger, engine });
  },
  "knows the fences of its own store object alone": ({ ledger, engine }) => {
    const fences = new Map<string, string>();
    const own: Breakage = seeing((tx) => ({
      get: (key) => (key.startsWith("fence:") ? fences.get(key) : tx.get(key)),
      set: (key, text) => (key.startsWith("fence:") ? fences.set(key, text) : tx.set(key, text)),
    }));
    return own({ ledger, engine });
  },
  "empties the ledger when it is opened": (parts) => {
    parts.ledger.texts.clear();
    return completeStore(parts);
  },
  "keeps everything in the store object": ({ ledger }) => new KeyedLedger(() => completeStore(own(ledger))).store,
  "closes the ledger for everybody": (parts) => {
    const store = completeStore(parts);
    return {
      ...store,
      async close() {
        await store.close();
        parts.ledger.texts.set("newer", "");
      },
    };
  },
  "reads from a copy that is never renewed": (parts) => {
    const store = completeStore(parts);
    const seen = new Map<string, Awaited<ReturnType<typeof store.executions.get>>>();
    const get: typeof store.executions.get = async (id, call) => {
      if (!seen.has(id)) seen.set(id, await store.executions.get(id, call));
      return seen.get(id);
    };
    return { ...store, executions: { ...store.executions, get } };
  },
  "works on a ledger of a newer version": (parts) => {
    parts.ledger.texts.delete("newer");
    return completeStore(parts);
  },
  "decides on what it read a moment before": ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = async (work, call) => {
      const before = new Map(ledger.texts);
      await Promise.resolve();
      return engine.transact((tx) => work({ ...tx, get: (key) => before.get(key) }), call);
    };
    return completeStore({ ledger, engine: { ...engine, transact } });
  },

  // ---------------------------------------------------------------------------------------------- transactions
  "commits at once, whatever becomes of the transaction": (parts) => {
    const store = completeStore(parts);
    return {
      ...store,
      executions: {
        ...store.executions,
        completeInTransaction(request, tx) {
          const { isOpen } = openTransaction(parts.ledger, tx);
          if (isOpen) return store.executions.complete(request, CALL);
          return store.executions.completeInTransaction?.(request, tx) as never;
        },
      },
    };
  },
  "writes in the transaction whoever asks": (parts) => {
    const store = completeStore(parts);
    const completeInTransaction: typeof store.executions.completeInTransaction = async (request, tx) => {
      const { transaction } = openTransaction(parts.ledger, tx);
      const { engine } = parts;
      const inside = keyedStore({ ...engine, transact: async (work) => work(transaction) });
      const view = await inside.executions.get(request.id, CALL);
      const nonce = /"nonce":"([^"]*)"/.exec(transaction.get(`execution:${request.id}`) ?? "")?.[1] ?? request.nonce;
      return inside.executions.complete({ ...request, nonce, token: view?.token ?? request.token }, CALL);
    };
    return { ...store, executions: { ...store.executions, completeInTransaction } };
  },
  "takes anything for a transaction": (parts) => {
    const store = completeStore(parts);
    const completeInTransaction: typeof store.executions.completeInTransaction = async (request, tx) => {
      const answer = Promise.resolve(store.executions.completeInTransaction?.(request, tx) as never);
      return answer.catch(() => store.executions.complete(request, CALL));
    };
    return { ...store, executions: { ...store.executions, completeInTransaction } };
  },

  // ------------------------------------------------------------------------------------------------ time, watch
  "carries out what nobody waits for": ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = (work) => engine.transact(work, { timeoutMs: 1e9 });
    return completeStore({ ledger, engine: { ...engine, transact } });
  },
  "gives up as soon as the engine is busy": ({ ledger, engine }) => {
    const transact: KeyedEngine["transact"] = (work, call) => {
      return engine.transact(work, { timeoutMs: Math.min(call.timeoutMs, 50) });
    };
    return completeStore({ ledger, engine: { ...engine, transact } });
  },
  "wakes the watchers of its own store object alone": (parts) => {
    const watchers: LedgerParts["ledger"]["watchers"] = new Map();
    const ledger = Object.create(parts.ledger, { watchers: { value: watchers } }) as KeyedLedger;
    const store = completeStore({ ...parts, ledger });
    const { completeInTransaction } = completeStore(parts).executions;
    return { ...store, executions: { ...store.executions, completeInTransaction: completeInTransaction as never } };
  },
};

/** A ledger that several store objects share, broken in one way each. */
export const brokenLedgers: Readonly<Record<string, () => KeyedLedger>> = Object.fromEntries(
  Object.entries(BREAKAGES).map(([name, breakage]) => [name, () => new KeyedLedger(breakage)]),
);

/** The parts of a ledger of its own, on another one's clock. */
function own(ledger: KeyedLedger): LedgerParts {
  let parts: LedgerParts | undefined;
  new KeyedLedger((made) => {
    parts = { ledger: made.ledger, engine: { ...made.engine, now: () => ledger.clock.now() } };
    return completeStore(parts);
  });
  return parts as LedgerParts;
}

function isReadable(text: string | undefined): boolean {
  return isJson(text) && text?.includes('"format":1') === true && !/"(attempt|epoch)":"/.test(text);
}

function isJson(text: string | undefined): boolean {
  try {
    JSON.parse(text ?? "null");
    return true;
  } catch (error) {
    if (isEvenkeelError(error)) throw error;
    return false;
  }
}
