import { turnOfEventLoop } from "../clock.ts";
import { assertRow } from "../resources/resource-of.ts";
import type { ChangedResources, DesiredState, ResourceRow, StaleResources, StoreCall } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { ReconcilerSettings } from "./settings.ts";

/** How many rows one store call brings at most. */
export const PAGE = 1_000;

/** What a reconciler reads of its group. Every row is checked before anybody concludes something from it. */
export class LedgerReader {
  readonly #settings: ReconcilerSettings<unknown>;
  /** The store's time less ours, as of the last row that was read. */
  #aheadMs = 0;
  #signal: AbortSignal | undefined;

  constructor(settings: ReconcilerSettings<unknown>) {
    this.#settings = settings;
  }

  /** From now on this ends what is read. */
  endWith(signal: AbortSignal): void {
    this.#signal = signal;
  }

  /** Epoch milliseconds by the store's clock, as far as it is known. */
  now(): number {
    return this.#settings.clock.now() + this.#aheadMs;
  }

  /** A moment of the store's clock by ours. */
  local(moment: number): number {
    return moment - this.#aheadMs;
  }

  desired(): Promise<DesiredState> {
    return this.#ask((call) => this.#resources.getDesired(this.#settings.name, call));
  }

  async changedSince(cursor: string | undefined): Promise<ChangedResources> {
    const request = { group: this.#settings.name, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
    const changed = await this.#ask((call) => this.#resources.changedSince(request, call));
    this.#take(changed.rows);
    return changed;
  }

  async staleBefore(ageMs: number, limit: number): Promise<StaleResources> {
    const request = { group: this.#settings.name, ageMs, limit };
    const stale = await this.#ask((call) => this.#resources.staleBefore(request, call));
    this.#take(stale.rows);
    return stale;
  }

  async get(id: string): Promise<ResourceRow | undefined> {
    const row = await this.#ask((call) => this.#resources.get(this.#settings.name, id, call));
    if (row !== undefined) this.#take([row]);
    return row;
  }

  async *provisioned(): AsyncGenerator<ResourceRow> {
    let after: { id: string; incarnation: number } | undefined;
    for (;;) {
      const request = {
        group: this.#settings.name,
        states: ["PROVISIONED"] as const,
        limit: PAGE,
        ...(after === undefined ? {} : { after }),
      };
      const rows = await this.#ask((call) => this.#resources.list(request, call));
      this.#take(rows);
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE) return;
      after = { id: last.id, incarnation: last.incarnation };
      // A store in this process answers without a turn.
      await turnOfEventLoop();
    }
  }

  /**
   * Asks the store what time it is, by way of a row.
   * @param known - of this one, if it is there still; of any without it.
   * @returns what stands there for it.
   */
  async lookAtClock(known: ResourceRow | undefined): Promise<ResourceRow | undefined> {
    const group = this.#settings.name;
    const ask = async (after?: { readonly id: string; readonly incarnation: number }) => {
      const request = { group, limit: 1, ...(after === undefined ? {} : { after }) };
      const rows = await this.#ask((call) => this.#resources.list(request, call));
      this.#take(rows);
      return rows[0];
    };
    if (known === undefined) {
      await ask();
      return undefined;
    }
    const { id, incarnation } = known;
    const found = (await ask({ id, incarnation: incarnation - 1 })) ?? (await ask());
    return found?.id === id && found.incarnation === incarnation ? found : undefined;
  }

  /** Deletes the tombstones that are old enough. */
  async purge(ageMs: number): Promise<void> {
    for (;;) {
      const request = { group: this.#settings.name, ageMs, limit: PAGE };
      const { purged } = await this.#ask((call) => this.#resources.purge(request, call));
      if (purged < PAGE) return;
    }
  }

  get #resources() {
    return this.#settings.store.resources;
  }

  #take(rows: readonly ResourceRow[]): void {
    for (const row of rows) assertRow(row);
    const last = rows.at(-1);
    if (last !== undefined) this.#aheadMs = last.readAt - this.#settings.clock.now();
  }

  #ask<T>(send: (call: StoreCall) => Promise<T>): Promise<T> {
    const { clock, random, storeTimeoutMs } = this.#settings;
    return storeOperation({ clock, random, budgetMs: storeTimeoutMs, signal: this.#signal, send });
  }
}
