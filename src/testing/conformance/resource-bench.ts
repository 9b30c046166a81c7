import { strict as assert } from "node:assert";
import type {
  ApplyRequest,
  CreateResource,
  HeartbeatResult,
  ListResourcesRequest,
  ResourceRow,
  ResourceStore,
  ResourceWrite,
  UpdateResource,
  WriteResult,
} from "../../store.ts";
import { assertStatus, assertThere } from "./assertions.ts";
import type { Bench } from "./bench.ts";

/** A silence that no machine is slow enough to reach by itself. */
export const SILENCE_MS = 600_000;

/** What the cases of resources have in common: one group, and writes that say only what matters to the case. */
export class ResourceBench {
  readonly group = "workers";
  readonly resources: ResourceStore;
  readonly #bench: Bench;

  constructor(bench: Bench) {
    this.resources = bench.store.resources;
    this.#bench = bench;
  }

  creation(overrides: Partial<CreateResource> = {}): CreateResource {
    const identity = { kind: "create", id: "web-1", after: 0, nonce: this.#bench.nonce() } as const;
    return { ...identity, state: "PENDING", generation: 1, attempt: 1, ...overrides };
  }

  /** A write that leaves the row as it was read, but for what is said; nobody holds it afterwards. */
  updateOf(row: ResourceRow, overrides: Partial<UpdateResource> = {}): UpdateResource {
    const { id, incarnation, version: expectedVersion, state, spec, externalId, generation, reason, attempt } = row;
    return {
      kind: "update",
      id,
      incarnation,
      expectedVersion,
      nonce: this.#bench.nonce(),
      state,
      ...(spec === undefined ? {} : { spec }),
      ...(externalId === undefined ? {} : { externalId }),
      generation,
      ...(reason === undefined ? {} : { reason }),
      attempt,
      ...overrides,
    };
  }

  apply(writes: readonly ResourceWrite[], overrides: Partial<ApplyRequest> = {}) {
    return this.resources.apply({ group: this.group, epoch: 0, writes, ...overrides }, this.#bench.call);
  }

  /** What each write of a batch came to; the batch must not be fenced. */
  async decided(writes: readonly ResourceWrite[], overrides: Partial<ApplyRequest> = {}): Promise<WriteResult[]> {
    const answer = await this.apply(writes, overrides);
    assertStatus(answer, "decided", "apply");
    assert.equal(answer.results.length, writes.length);
    return [...answer.results];
  }

  /** The row that a write left; it has to be applied. */
  async applied(write: ResourceWrite, overrides: Partial<ApplyRequest> = {}): Promise<ResourceRow> {
    const [result] = await this.decided([write], overrides);
    assertThere(result, "the result of the write");
    assertStatus(result, "applied", "the write");
    return result.row;
  }

  made(overrides: Partial<CreateResource> = {}): Promise<ResourceRow> {
    return this.applied(this.creation(overrides));
  }

  /** Several rows in one batch, in the order of the ids. */
  async madeAll(ids: readonly string[], overrides: Partial<CreateResource> = {}): Promise<ResourceRow[]> {
    const results = await this.decided(ids.map((id) => this.creation({ ...overrides, id })));
    return results.map((result) => {
      assertStatus(result, "applied", "a write of the batch");
      return result.row;
    });
  }

  changed(row: ResourceRow, overrides: Partial<UpdateResource> = {}): Promise<ResourceRow> {
    return this.applied(this.updateOf(row, overrides));
  }

  /** The row that stands in the way of a write. */
  async conflicting(write: ResourceWrite, overrides: Partial<ApplyRequest> = {}): Promise<ResourceRow | undefined> {
    const [result] = await this.decided([write], overrides);
    assert.equal(result?.status, "conflict");
    return result?.row;
  }

  async beat(id = "web-1", incarnation?: number): Promise<HeartbeatResult["status"] | undefined> {
    const beat = incarnation === undefined ? { id } : { id, incarnation };
    const [result] = await this.resources.heartbeat({ group: this.group, beats: [beat] }, this.#bench.call);
    return result?.status;
  }

  get(id = "web-1"): Promise<ResourceRow | undefined> {
    return this.resources.get(this.group, id, this.#bench.call);
  }

  list(overrides: Partial<ListResourcesRequest> = {}): Promise<ResourceRow[]> {
    return this.resources.list({ group: this.group, limit: 100, ...overrides }, this.#bench.call);
  }

  /** The rows of a list as `id/incarnation`. */
  async listed(overrides: Partial<ListResourcesRequest> = {}): Promise<string[]> {
    return (await this.list(overrides)).map(nameOf);
  }

  changes(cursor?: string, limit = 1_000) {
    const at = cursor === undefined ? {} : { cursor };
    return this.resources.changedSince({ group: this.group, limit, ...at }, this.#bench.call);
  }

  stale(ageMs = SILENCE_MS, limit = 100) {
    return this.resources.staleBefore({ group: this.group, ageMs, limit }, this.#bench.call);
  }

  purge(ageMs = SILENCE_MS, limit = 100) {
    return this.resources.purge({ group: this.group, ageMs, limit }, this.#bench.call);
  }

  desired(group = this.group) {
    return this.resources.getDesired(group, this.#bench.call);
  }

  desire(desired: string, epoch = 0, group = this.group) {
    const nonce = this.#bench.nonce();
    return this.resources.setDesired({ group, epoch, nonce, desired }, this.#bench.call);
  }

  /** Desires something if the group still has that generation. */
  desireIf(ifGeneration: number, desired: string, overrides: { nonce?: string; epoch?: number } = {}) {
    const request = { group: this.group, epoch: 0, nonce: this.#bench.nonce(), desired, ifGeneration, ...overrides };
    return this.resources.setDesired(request, this.#bench.call);
  }
}

export function nameOf({ id, incarnation }: ResourceRow): string {
  return `${id}/${incarnation}`;
}

/** A row but for the moment at which it was read. */
export function timeless(row: ResourceRow | undefined): object | undefined {
  if (row === undefined) return undefined;
  const { readAt: _readAt, ...rest } = row;
  return rest;
}
