import { strict as assert } from "node:assert";
import type { ExecutionStore, StoredOutcome } from "../../store.ts";

/** What was seen of one record. */
interface Seen {
  highestToken: number;
  /** The token that each nonce was last granted. */
  readonly tokens: Map<string, number>;
  /** The outcome that was committed under the highest token. */
  committed?: { readonly token: number; readonly outcome: StoredOutcome };
}

/**
 * Watches every answer of a store and holds it to what must be true in any order of calls: a new grant has a higher token
 * than all before, a commit belongs to the highest token, and what was committed under a token keeps its bytes.
 */
export class Invariants {
  readonly #records = new Map<string, Seen>();
  readonly #violations: string[] = [];
  /** The store, watched. */
  readonly observed: ExecutionStore;

  constructor(inner: ExecutionStore) {
    const seen = (id: string): Seen => {
      const record = this.#records.get(id) ?? { highestToken: 0, tokens: new Map() };
      this.#records.set(id, record);
      return record;
    };
    this.observed = {
      claim: async (request, call) => {
        const answer = await inner.claim(request, call);
        const record = seen(request.id);
        if (answer.status === "acquired") this.#granted(record, request.nonce, answer.token);
        return answer;
      },
      complete: async (request, call) => {
        // The caller may change the bytes while the call is under way.
        const outcome = { kind: request.outcome.kind, bytes: request.outcome.bytes.slice() };
        const answer = await inner.complete(request, call);
        if (answer.status === "committed") this.#committed(seen(request.id), request.token, outcome, answer.outcome);
        return answer;
      },
      renew: (request, call) => inner.renew(request, call),
      release: (request, call) => inner.release(request, call),
      recordStep: (request, call) => inner.recordStep(request, call),
      get: (id, call) => inner.get(id, call),
      list: (request, call) => inner.list(request, call),
      purge: (request, call) => inner.purge(request, call),
      ...(inner.watch === undefined ? {} : { watch: inner.watch.bind(inner) }),
    };
  }

  /** Fails with everything that was seen to be wrong. */
  assertHeld(): void {
    assert.deepEqual(this.#violations, []);
  }

  #granted(record: Seen, nonce: string, token: number): void {
    if (!Number.isSafeInteger(token) || token <= 0) this.#violations.push(`token ${token} is no positive safe integer`);
    if (record.tokens.get(nonce) === token) return;
    for (const [other, granted] of record.tokens) {
      // Answers of concurrent calls may arrive in another order than they were given.
      if (granted === token) this.#violations.push(`token ${token} went to ${other} and to ${nonce}`);
    }
    record.tokens.set(nonce, token);
    record.highestToken = Math.max(record.highestToken, token);
  }

  #committed(record: Seen, token: number, asked: StoredOutcome, stands: StoredOutcome): void {
    if (token < record.highestToken) {
      this.#violations.push(`token ${token} committed although ${record.highestToken} had been granted`);
    }
    if (record.committed?.token !== token) {
      if (!same(asked, stands)) this.#violations.push("a first commit came back with other bytes");
      record.committed = { token, outcome: copy(stands) };
    } else if (!same(record.committed.outcome, stands)) this.#violations.push("a committed outcome changed");
  }
}

function same(a: StoredOutcome, b: StoredOutcome): boolean {
  return a.kind === b.kind && Buffer.compare(a.bytes, b.bytes) === 0;
}

function copy({ kind, bytes }: StoredOutcome): StoredOutcome {
  return { kind, bytes: bytes.slice() };
}
