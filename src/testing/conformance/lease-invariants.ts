import { strict as assert } from "node:assert";
import type { LeaseHolder, LeaseStore } from "../../store.ts";
import { type Elapsed, follows, type Span } from "./elapsed.ts";

interface Acquisition {
  readonly holder: string;
  readonly nonce: string;
  readonly epoch: number;
  readonly span: Span;
  /** What set the lease last. */
  lease: { readonly span: Span; readonly durationMs: number };
  releaseBegan?: Span["began"];
  released?: Span;
}

/**
 * What is true of leases in any order of calls (I3, I6, I7, I16): epochs rise, nobody acquires what another one holds, a nonce
 * that asks again inside its lease has the epoch that it had, and nobody renews what he does not hold.
 */
export class LeaseInvariants {
  readonly #names = new Map<string, Acquisition[]>();
  readonly #violations = new Set<string>();
  readonly #elapsed: Elapsed;

  constructor(elapsed: Elapsed) {
    this.#elapsed = elapsed;
  }

  /** The same store, watched. */
  observe(inner: LeaseStore): LeaseStore {
    const measure = this.#elapsed.measure.bind(this.#elapsed);
    return {
      acquire: async (request, call) => {
        const { answer, span } = await measure(() => inner.acquire(request, call));
        if (answer.status === "acquired") this.#acquired({ ...request, ...answer, span });
        return answer;
      },
      renew: async (request, call) => {
        const { answer, span } = await measure(() => inner.renew(request, call));
        if (answer.status === "renewed") this.#renewed(request, request.durationMs, span);
        return answer;
      },
      release: async (request, call) => {
        const acquisition = this.#find(request);
        if (acquisition !== undefined) acquisition.releaseBegan ??= this.#elapsed.now();
        const { answer, span } = await measure(() => inner.release(request, call));
        if (answer.status === "released" && acquisition !== undefined) acquisition.released = span;
        if (answer.status === "released" && acquisition === undefined)
          this.#violated("I7: a stranger released a lease");
        return answer;
      },
      get: (name, call) => inner.get(name, call),
      list: (prefix, call) => inner.list(prefix, call),
    };
  }

  /** Fails with everything that was seen to be wrong. */
  assertHeld(): void {
    assert.deepEqual([...this.#violations], []);
  }

  #acquired(asked: Omit<Acquisition, "lease"> & { name: string; durationMs: number }): void {
    const { name, holder, nonce, epoch, durationMs, span } = asked;
    const all = this.#names.get(name) ?? [];
    this.#names.set(name, all);
    if (!Number.isSafeInteger(epoch) || epoch <= 0) this.#violated(`epoch ${epoch} is no positive safe integer`);
    const known = all.find((acquisition) => acquisition.epoch === epoch);
    if (known !== undefined) {
      if (known.nonce !== nonce || known.holder !== holder) this.#violated("I16: one epoch was given to two");
      return;
    }
    for (const before of all.filter((acquisition) => follows(span, acquisition.span))) {
      if (before.epoch > epoch) this.#violated(`I3: epoch ${epoch} followed a higher one`);
      const running = this.#elapsed.atMost(before.lease.span, span) < before.lease.durationMs;
      if (before.releaseBegan === undefined && running)
        this.#violated("I6: a lease was acquired while another held it");
    }
    all.push({ holder, nonce, epoch, span, lease: { span, durationMs } });
  }

  #renewed(request: LeaseHolder, durationMs: number, span: Span): void {
    const acquisition = this.#find(request);
    if (acquisition === undefined) return this.#violated("I7: a stranger renewed a lease");
    const { lease, released } = acquisition;
    if (released !== undefined && follows(span, released)) this.#violated("I7: a lease was renewed after its release");
    if (this.#elapsed.atLeast(lease.span, span) >= lease.durationMs) this.#violated("I7: a lapsed lease was renewed");
    acquisition.lease = { span, durationMs };
  }

  #find({ name, holder, epoch }: LeaseHolder): Acquisition | undefined {
    return this.#names.get(name)?.find((known) => known.epoch === epoch && known.holder === holder);
  }

  #violated(what: string): void {
    this.#violations.add(what);
  }
}
