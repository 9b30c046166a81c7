import { type Clock, NotFound, type Random, type ResourceLedger, RetryAfter, TerminalError } from "../../src/index.ts";
import type { ObservedResource } from "../../src/reconcile/observation.ts";
import type { ActionContext, ResourceRecord } from "../../src/resources/resource.ts";
import { between, type Life } from "./reconciler-life.ts";
import type { Witness } from "./reconciler-witness.ts";

type Resource = ResourceRecord<number>;

interface Thing {
  readonly id: string;
  readonly incarnation: number;
  readonly externalId: string;
  spec: number | undefined;
  /** When it stops to beat, if ever. */
  silentAt: number;
}

export interface CloudTerms {
  readonly clock: Clock;
  readonly random: Random;
  readonly witness: Witness;
  /** By which things beat. */
  readonly ledger: ResourceLedger<number>;
  readonly leaseMs: number;
  readonly beatMs: number;
  /** Whether no two incarnations of a slot may exist at once. */
  readonly isFenced: boolean;
  /** Whether who terminates is told so before the thing is gone. */
  readonly isLate: boolean;
}

/**
 * An API in the outside world that honours idempotency keys and fencing tokens. Requests take their time, arrive also when whoever sent
 * them has died, and fail before or after they were carried out.
 */
export class Cloud {
  readonly things = new Map<string, Thing>();
  readonly #terms: CloudTerms;
  readonly #made = new Map<string, string>();
  readonly #keys = new Map<string, string>();
  readonly #tokens = new Map<string, number>();
  #calls = 0;
  #isFaulty = true;
  #isOpen = true;

  constructor(terms: CloudTerms) {
    this.#terms = terms;
  }

  /** How often a callback was called. */
  get calls(): number {
    return this.#calls;
  }

  /** From now on all goes well, but for what is silent already. */
  heal(): void {
    this.#isFaulty = false;
    const now = this.#terms.clock.now();
    for (const thing of this.things.values()) if (thing.silentAt > now) thing.silentAt = Number.POSITIVE_INFINITY;
  }

  /** Nothing beats any more. */
  close(): void {
    this.#isOpen = false;
  }

  callbacks(life: Life) {
    return {
      create: async (resource: Resource, ctx: ActionContext) => {
        await this.#begun("create", resource, ctx, ["PENDING"]);
        return this.#request(life, () => this.#create(resource, ctx));
      },
      terminate: async (resource: Resource, ctx: ActionContext) => {
        const states = this.#terms.isLate ? ["TERMINATING", "TERMINATED"] : ["TERMINATING"];
        await this.#begun("terminate", resource, ctx, states);
        return this.#request(life, () => this.#terminate(resource, ctx));
      },
    };
  }

  update(life: Life) {
    return async (resource: Resource, ctx: ActionContext) => {
      await this.#begun("update", resource, ctx, ["PROVISIONED"]);
      return this.#request(life, () => {
        this.#fence(nameOf(resource), ctx);
        const thing = this.things.get(nameOf(resource));
        if (thing !== undefined) thing.spec = resource.spec;
      });
    };
  }

  observe(life: Life) {
    return (): Promise<ObservedResource[] | { complete: boolean; items: ObservedResource[] }> =>
      life.ask(async () => {
        const { clock, random } = this.#terms;
        const items = [...this.things.values()].map(({ id, incarnation, externalId }) => ({
          id,
          incarnation,
          externalId,
        }));
        await clock.sleep(between(random, 0, 300));
        if (!this.#isFaulty) return items;
        if (random.float() < 0.1) throw new Error("The list could not be had.");
        if (random.float() < 0.1) return { complete: false, items: items.filter(() => random.float() < 0.5) };
        return items;
      });
  }

  /** I15: nobody is called but for a row that says so, under the lease that it was given. */
  async #begun(action: string, resource: Resource, ctx: ActionContext, states: readonly string[]): Promise<void> {
    this.#calls += 1;
    const { witness } = this.#terms;
    const name = nameOf(resource);
    const row = (await witness.rows()).find(
      ({ id, incarnation }) => id === resource.id && incarnation === resource.incarnation,
    );
    witness.trace.push(`${action} ${name} ${ctx.attempt} ${ctx.idempotencyKey.slice(0, 8)}`);
    if (row === undefined) {
      // A stray, of which no row was ever kept.
      if (ctx.fencingToken !== 0) witness.violation(`${action} of ${name} without a row`);
      return;
    }
    if (!states.includes(row.state)) witness.violation(`I15: ${action} of ${name}, which is ${row.state}`);
    if (ctx.fencingToken !== row.fencingToken) witness.violation(`I15: ${action} of ${name} under an old lease`);
    const known = this.#keys.get(`${action} ${name}`);
    if (action === "create" && known !== undefined && known !== ctx.idempotencyKey)
      witness.violation(`I15: ${name} is created under a second key`);
    this.#keys.set(`${action} ${name}`, ctx.idempotencyKey);
  }

  #request<T>(life: Life, effect: () => T): Promise<T> {
    const { clock, random, leaseMs, isLate } = this.#terms;
    return life.ask(async () => {
      // Where the observation shows what there is, a drop needs no call: then nothing may be on its way for ever.
      if (this.#isFaulty && !isLate) await clock.sleep(random.float() ** 3 * leaseMs * 1.5);
      if (this.#isFaulty && random.float() < 0.1) {
        if (random.float() < 0.3) throw new RetryAfter(500);
        throw new Error("It was refused.");
      }
      const result = effect();
      await clock.sleep(random.float() ** 3 * leaseMs * (this.#isFaulty ? 1.5 : 0.5));
      if (this.#isFaulty && random.float() < 0.1) throw new Error("It was done, and the answer was lost.");
      return result;
    });
  }

  #create(resource: Resource, ctx: ActionContext): { externalId: string } {
    const { witness, random, isFenced, clock } = this.#terms;
    const name = nameOf(resource);
    this.#fence(name, ctx);
    const known = this.#made.get(ctx.idempotencyKey);
    if (known !== undefined) return { externalId: known };
    // It is known then that nothing was made.
    if (this.#isFaulty && random.float() < 0.03) throw new TerminalError("It can't be made.");
    const { id, incarnation, spec } = resource;
    const others = [...this.things.values()].filter((thing) => thing.id === id);
    if (isFenced && others.length > 0) witness.violation(`I23: ${name} is made beside ${others[0]?.incarnation}`);
    if (this.things.has(name)) witness.violation(`${name} is made twice`);
    const externalId = `x${this.#made.size + 1}`;
    this.#made.set(ctx.idempotencyKey, externalId);
    const fallsSilent = this.#isFaulty && random.float() < 0.2;
    const silentAt = fallsSilent ? clock.now() + random.float() * 30_000 : Number.POSITIVE_INFINITY;
    const thing = { id, incarnation, externalId, spec, silentAt };
    this.things.set(name, thing);
    witness.trace.push(`made ${name}`);
    void this.#beat(thing);
    return { externalId };
  }

  #terminate(resource: Resource, ctx: ActionContext): void {
    const { clock, random, isLate, witness } = this.#terms;
    const name = nameOf(resource);
    if (ctx.fencingToken > 0) this.#fence(name, ctx);
    if (!this.things.has(name)) throw new NotFound();
    if (isLate) {
      clock.setTimer(between(random, 0, 3_000), () => this.things.delete(name));
      return;
    }
    this.things.delete(name);
    witness.trace.push(`ended ${name}`);
  }

  /** Who was overtaken changes nothing. */
  #fence(name: string, { fencingToken }: ActionContext): void {
    if (fencingToken < (this.#tokens.get(name) ?? 0)) throw new Error("It was overtaken.");
    this.#tokens.set(name, fencingToken);
  }

  async #beat(thing: Thing): Promise<void> {
    const { clock, random, ledger, beatMs, witness } = this.#terms;
    const name = nameOf(thing);
    await clock.sleep(random.float() * beatMs);
    while (this.#isOpen && this.things.get(name) === thing && clock.now() < thing.silentAt) {
      const beat = { incarnation: thing.incarnation };
      const { superseded } = await ledger.heartbeat(thing.id, beat).catch(() => ({ superseded: false }));
      if (superseded) {
        const row = (await witness.rows()).find(
          ({ id, incarnation }) => id === thing.id && incarnation === thing.incarnation,
        );
        if (row?.state === "PENDING" || row?.state === "PROVISIONED") witness.violation(`${name} was told to stop`);
        if (this.things.get(name) === thing) this.things.delete(name);
        return;
      }
      if (this.#isOpen) await clock.sleep(beatMs);
    }
  }
}

function nameOf({ id, incarnation }: { readonly id: string; readonly incarnation: number }): string {
  return `${id}/${incarnation}`;
}
