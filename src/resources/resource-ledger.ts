import { type Clock, systemClock } from "../clock.ts";
import { acceptOptions, invalidOptions, type OptionRules, rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import { type Random, systemRandom } from "../random.ts";
import type { LedgerStore, ResourceState, ResourceStore, StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { acceptDesired, desiredOfText, desiredTextOf, entriesOf } from "./desired-text.ts";
import { updateDesired } from "./desired-update.ts";
import { DesiredWriter } from "./desired-writer.ts";
import { followingEpochs } from "./epoch-following.ts";
import { Heartbeats } from "./heartbeats.ts";
import { turnTaker } from "./in-turns.ts";
import { LEDGER_RULES } from "./ledger-rules.ts";
import { type Provisioned, type ProvisionOptions, type ProvisionTerms, provision } from "./provision.ts";
import type { DesiredResource, ResourceRecord } from "./resource.ts";
import { resourceOf } from "./resource-of.ts";
import { isResourceState } from "./resource-state.ts";
import { RowWriter } from "./row-writer.ts";
import { specOf } from "./spec-text.ts";

export interface ResourceLedgerOptions {
  /** The ledger. */
  readonly store: LedgerStore;
  /** Whose resources: a well-formed text of 1 to 255 characters. The `name` of the Reconciler that looks after them. */
  readonly group: string;
  /** Defaults to the machine's clock. */
  readonly clock?: Clock | undefined;
  /** Defaults to the machine's randomness. */
  readonly random?: Random | undefined;
  /** How long one store operation may take, its repetitions included, in milliseconds. Defaults to 5,000. */
  readonly storeTimeoutMs?: number | undefined;
  /**
   * How long nobody else creates a resource after the process that was creating it fell silent, in milliseconds; renewed every
   * third of it. Defaults to 30,000.
   */
  readonly leaseMs?: number | undefined;
}

/** Which rows a list has. */
export interface ResourceFilter {
  /** Defaults to all, tombstones included. */
  readonly states?: readonly ResourceState[] | undefined;
  /** How many rows in total. Defaults to all. */
  readonly limit?: number | undefined;
  /** Begins after all incarnations of this id, which need not be there. */
  readonly after?: string | undefined;
}

const SCHEMA = optionsSchema(LEDGER_RULES, ["store", "group"]);
const OWNER = "ResourceLedger";
const ROWS_A_PAGE = 1_000;
const BEAT: OptionRules = { incarnation: rules.count };
const FILTER: OptionRules = {
  states: rules.custom("an array", Array.isArray),
  limit: rules.count,
  after: rules.name,
};

/**
 * The resources of one group: which are wanted, which exist, and which give signs of life. The layer below the keys of requests:
 * it knows the resource itself, so that a second key for one that exists makes no second one.
 *
 * Not promised: that two calls of `create` for one resource never overlap in time. A process that is paused past its lease may go
 * on beside the one that took over; both have the same `ctx.idempotencyKey`, and the later one the higher `ctx.fencingToken`.
 *
 * Its user need not be the group's leader, and needs no epoch: what is written here is intent, or guarded by compare-and-swap,
 * and goes with the highest epoch that the group has seen. A leader elsewhere neither stops it nor is stopped by it.
 *
 * @example
 * ```ts
 * import { ResourceLedger } from "evenkeel";
 * import { sqliteStore } from "evenkeel/sqlite";
 *
 * const workers = new ResourceLedger<{ size: string }>({ store: sqliteStore("ledger.db"), group: "workers" });
 * const { resource, created } = await workers.provision("tenant-17", {
 *   spec: { size: "small" },
 *   create: async (tenant, ctx) => {
 *     const vm = await cloud.createVm({ size: tenant.spec?.size, clientToken: ctx.idempotencyKey });
 *     return { externalId: vm.id };
 *   },
 * });
 * ```
 */
export class ResourceLedger<Spec = unknown> {
  readonly #terms: ProvisionTerms;
  readonly #heartbeats: Heartbeats;
  readonly #desiredWriter: DesiredWriter;
  /** The last `setDesired` or `updateDesired`: a long list must not overtake what was said after it. */
  #lastDesired: Promise<unknown> = Promise.resolve();

  /** @throws EvenkeelError `INVALID_OPTIONS`. */
  constructor(options: ResourceLedgerOptions) {
    parseOptions(OWNER, SCHEMA, options);
    const clock = options.clock ?? systemClock;
    const terms = {
      // Epochs are followed below the writers.
      store: followingEpochs(options.store, clock),
      group: options.group,
      clock,
      random: options.random ?? systemRandom,
      storeTimeoutMs: options.storeTimeoutMs ?? 5_000,
      leaseMs: options.leaseMs ?? 30_000,
    };
    this.#terms = { ...terms, writer: new RowWriter({ ...terms, epoch: () => 0 }) };
    this.#heartbeats = new Heartbeats(terms);
    this.#desiredWriter = new DesiredWriter(terms);
  }

  /**
   * The state guard: a resource that is PROVISIONED is returned as it is, whatever spec is asked for now. Otherwise `create` is
   * called, by one caller at a time:
   *
   * - absent, FAILED or TERMINATED: PENDING is written as the next incarnation, then `create` is called;
   * - PENDING and nobody at it any more (it threw, or its process fell silent for `leaseMs`): `create` is called again for the same
   *   incarnation, with the same `ctx.idempotencyKey`, and with the spec that it began with.
   *
   * Then PROVISIONED is written, with what `create` returned. `create` has no time limit but its own.
   *
   * @throws EvenkeelError `IN_PROGRESS` while another caller is at it, or while it is TERMINATING, with `retryAfterMs`; `LEASE_LOST`
   * when another caller took over while `create` ran, and has not finished; `STORE_UNAVAILABLE`, also when `create` has returned
   * and that could not be written down: the next call goes on with the same key; `RECORD_CORRUPT`; `INVALID_OPTIONS`, also for what
   * `create` may not return. What `create` throws is thrown as it is, and the next call goes on at once.
   */
  async provision(id: string, options: ProvisionOptions<Spec>): Promise<Provisioned<Spec>> {
    acceptId("provision", id);
    return provision(this.#terms, id, options);
  }

  /**
   * A sign of life of a resource, stamped with the store's time. Beats of one turn of the event loop are sent together.
   *
   * `superseded`: it was replaced, given up or ended, and should stop itself; a beat never brings it back. Neither: there is no such
   * resource.
   *
   * @param beat.incarnation - which incarnation beats: without it the newest is meant, and a replaced one is never told.
   * @throws EvenkeelError `INVALID_OPTIONS`, `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  async heartbeat(
    id: string,
    beat: { readonly incarnation?: number | undefined } = {},
  ): Promise<{ accepted: boolean; superseded: boolean }> {
    acceptId("heartbeat", id);
    acceptOptions(`${OWNER}.heartbeat`, BEAT, beat);
    const status = await this.#heartbeats.send(id, beat.incarnation);
    return { accepted: status === "accepted", superseded: status === "superseded" };
  }

  /**
   * Says which resources are wanted: so many, with the ids `<group>-0` to `<group>-<N-1>`, or these. The same set, in whatever order, is
   * the same generation. Of several calls of one ledger the last one wins, also over what of an earlier one arrives late. One round trip
   * while nobody else sets it, and another one for each time that somebody has.
   *
   * @throws EvenkeelError `INVALID_OPTIONS`, naming what is wrong with the set (at most 10,000,000 resources by number, 2,000,000 by list, each id once);
   * `STORE_UNAVAILABLE`, also, without a `cause`, where others set it so often that nothing was set; `FENCED` when leaders changed faster
   * than it could follow.
   */
  async setDesired(desired: number | Iterable<DesiredResource<Spec>>): Promise<{ generation: number }> {
    const before = this.#lastDesired;
    const set = this.#sendDesired(desired, before);
    this.#lastDesired = set.catch(() => {});
    return set;
  }

  async #sendDesired(wanted: unknown, before: Promise<unknown>): Promise<{ generation: number }> {
    const text = await desiredTextOf(await acceptDesired(`${OWNER}.setDesired`, this.#terms.group, wanted));
    await before;
    return this.#desiredWriter.set(text);
  }

  /**
   * Changes which resources are wanted: reads what is desired now, asks `change` what is to be desired instead, and sets that unless
   * something else was desired meanwhile; then `change` is asked anew, with that. So additions by several callers, in whatever
   * processes, all stay. It is asked once or more, and should do nothing but answer; what it throws is thrown as it is, and
   * nothing is set. The array that it gets is its own to change. Calls of one ledger, of `setDesired` too, come one after the other.
   *
   * @param change - gets what is desired now, nothing at first; answers like the argument of `setDesired`.
   * @throws EvenkeelError as `setDesired` and `desired`; `STORE_UNAVAILABLE` also, without a `cause`, where others changed it so
   * often that nothing was set, and with one where an answer was lost and others have changed it since: then it may have been set.
   * @example
   * ```ts
   * await workers.updateDesired((desired) => {
   *   return desired.some(({ id }) => id === "tenant-17") ? desired : [...desired, { id: "tenant-17" }];
   * });
   * ```
   */
  async updateDesired(
    change: (resources: DesiredResource<Spec>[]) => number | Iterable<DesiredResource<Spec>>,
  ): Promise<{ generation: number }> {
    if (!rules.fn.test(change)) throw invalidOptions(`${OWNER}.updateDesired`, `change must be ${rules.fn.says}`);
    const terms = { ...this.#terms, writer: this.#desiredWriter };
    const set = this.#lastDesired.then(() =>
      updateDesired<Spec>(terms, { owner: `${OWNER}.updateDesired`, read: () => this.desired(), change }),
    );
    this.#lastDesired = set.catch(() => {});
    return set;
  }

  /**
   * Which resources are wanted: those of a list in the order of their ids' code points. Generation 0 as long as nobody has said.
   * @throws EvenkeelError `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  async desired(): Promise<{ generation: number; resources: DesiredResource<Spec>[] }> {
    const { group } = this.#terms;
    const { generation, desired } = await this.#ask((resources, call) => resources.getDesired(group, call));
    const resources: DesiredResource<Spec>[] = [];
    if (desired === undefined) return { generation, resources };
    const turns = turnTaker();
    for (const { spec, ...entry } of entriesOf(group, await desiredOfText(desired))) {
      resources.push(spec === undefined ? entry : { ...entry, spec: specOf<Spec>(spec, entry.id) });
      if (turns.isDue()) await turns.turn();
    }
    return { generation, resources };
  }

  /**
   * The newest incarnation, as long as its row is kept.
   * @throws EvenkeelError `INVALID_OPTIONS`, `STORE_UNAVAILABLE`, `RECORD_CORRUPT`.
   */
  async get(id: string): Promise<ResourceRecord<Spec> | undefined> {
    acceptId("get", id);
    const row = await this.#ask((resources, call) => resources.get(this.#terms.group, id, call));
    return row === undefined ? undefined : resourceOf<Spec>(row);
  }

  /**
   * All incarnations whose rows are kept, by id (in the order of code points) and then by incarnation: also those of resources that are
   * gone, as TERMINATED, unless `states` leaves them out. Read in pages of 1,000 rows while it is iterated, so a change meanwhile
   * may be in it or not. Each iteration begins anew.
   *
   * @throws EvenkeelError `INVALID_OPTIONS` at once; `STORE_UNAVAILABLE` and `RECORD_CORRUPT` while it is iterated.
   */
  list(filter: ResourceFilter = {}): AsyncIterable<ResourceRecord<Spec>> {
    acceptOptions(`${OWNER}.list`, FILTER, filter);
    const { limit = Number.POSITIVE_INFINITY, after } = filter;
    const states = filter.states && [...filter.states];
    const unknown = states?.find((state) => !isResourceState(state));
    if (unknown !== undefined) throw invalidOptions(`${OWNER}.list`, `${String(unknown)} is not a state`);
    return { [Symbol.asyncIterator]: () => this.#rows(states, limit, after) };
  }

  async *#rows(
    states: readonly ResourceState[] | undefined,
    limit: number,
    afterId: string | undefined,
  ): AsyncGenerator<ResourceRecord<Spec>, undefined> {
    if (states?.length === 0) return;
    let after = afterId === undefined ? undefined : { id: afterId, incarnation: Number.MAX_SAFE_INTEGER };
    for (let left = limit; left > 0; ) {
      const page = Math.min(left, ROWS_A_PAGE);
      const request = { group: this.#terms.group, limit: page, ...(states && { states }), ...(after && { after }) };
      const rows = await this.#ask((resources, call) => resources.list(request, call));
      for (const row of rows) yield resourceOf<Spec>(row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < page) return;
      after = { id: last.id, incarnation: last.incarnation };
      left -= rows.length;
    }
  }

  #ask<T>(ask: (resources: ResourceStore, call: StoreCall) => Promise<T>): Promise<T> {
    const { store, clock, random, storeTimeoutMs } = this.#terms;
    const send = (call: StoreCall) => ask(store.resources, call);
    return storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
  }
}

function acceptId(method: string, id: unknown): void {
  if (!rules.name.test(id)) throw invalidOptions(`${OWNER}.${method}`, `id must be ${rules.name.says}`);
}
