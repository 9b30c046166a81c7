import { type Clock, Stopwatch } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { rules } from "../option-rules.ts";
import { optionsSchema, parseOptions } from "../options.ts";
import type { Random } from "../random.ts";
import type { LedgerStore, ResourceRow } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { actionKey } from "./action-key.ts";
import { acceptCreateResult } from "./create-result.ts";
import { fenced } from "./epoch-following.ts";
import { callUnderLease } from "./leased-call.ts";
import type { ActionContext, CreateResult, ResourceRecord } from "./resource.ts";
import { assertRow, resourceOf } from "./resource-of.ts";
import { assertTransition } from "./resource-state.ts";
import type { RowWrite, RowWriteResult, RowWriter } from "./row-writer.ts";
import { specText } from "./spec-text.ts";

const OWNER = "ResourceLedger.provision";
/** What a caller is told to wait for an end that nobody can foresee. */
const RETRY_AFTER_MS = 1_000;
/** Each lost race means that somebody else got on; more in a row than this is a crowd, which is told to come back. */
const MOST_RACES = 5;

/** What a resource is to be, and how it is made. */
export interface ProvisionOptions<Spec> {
  /** Kept in the row, and handed to every attempt of this incarnation. */
  readonly spec?: Spec | undefined;
  /**
   * Makes the resource. Called again with the same `ctx.idempotencyKey` as long as it has not once returned and been recorded:
   * hand the key to the API that is called, or look there first for what an earlier attempt has made.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is meant.
  create(resource: ResourceRecord<Spec>, ctx: ActionContext): Promise<CreateResult | void>;
}

/** The resource, and whether this call made it. */
export interface Provisioned<Spec> {
  readonly resource: ResourceRecord<Spec>;
  readonly created: boolean;
}

export interface ProvisionTerms {
  readonly store: LedgerStore;
  readonly writer: RowWriter;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly storeTimeoutMs: number;
  readonly leaseMs: number;
}

const SCHEMA = optionsSchema({ spec: rules.custom("anything", () => true), create: rules.fn }, ["create"]);

/** What the newest row of an id lets a caller do. */
type Footing =
  | { readonly kind: "exists"; readonly row: ResourceRow }
  | { readonly kind: "busy"; readonly error: EvenkeelError }
  /** Nothing is there (any more): the incarnation after this one is made. */
  | { readonly kind: "claim"; readonly after: number }
  /** Whoever was creating it failed, or fell silent. */
  | { readonly kind: "takeOver"; readonly row: ResourceRow };

/** The state guard. See `ResourceLedger.provision`. */
export async function provision<Spec>(
  terms: ProvisionTerms,
  id: string,
  options: ProvisionOptions<Spec>,
): Promise<Provisioned<Spec>> {
  parseOptions(OWNER, SCHEMA, options);
  const create = options.create.bind(options);
  const spec = specText(options.spec, { owner: OWNER, id });
  for (let race = 1; ; race += 1) {
    const footing = footingOf(await newestRow(terms, id));
    if (footing.kind === "exists") return { resource: resourceOf<Spec>(footing.row), created: false };
    if (footing.kind === "busy") throw footing.error;
    const sentAt = new Stopwatch(terms.clock);
    const result = await grant(terms, id, footing, spec);
    if (result.status === "applied") return createUnderLease(terms, result.row, sentAt, create);
    if (result.status === "fenced") throw fenced(result.epoch);
    if (race === MOST_RACES) throw inProgress("Many callers want the resource at once", RETRY_AFTER_MS);
  }
}

function newestRow({ store, group, clock, random, storeTimeoutMs }: ProvisionTerms, id: string) {
  const send = (call: { readonly timeoutMs: number }) => store.resources.get(group, id, call);
  return storeOperation({ clock, random, budgetMs: storeTimeoutMs, send });
}

function footingOf(row: ResourceRow | undefined): Footing {
  if (row === undefined) return { kind: "claim", after: 0 };
  assertRow(row);
  switch (row.state) {
    case "PROVISIONED":
      return { kind: "exists", row };
    case "FAILED":
    case "TERMINATED":
      return { kind: "claim", after: row.incarnation };
    case "TERMINATING":
      return {
        kind: "busy",
        error: inProgress("The resource is being terminated", leaseLeftMs(row) || RETRY_AFTER_MS),
      };
    case "PENDING": {
      const leftMs = leaseLeftMs(row);
      if (leftMs <= 0) return { kind: "takeOver", row };
      return { kind: "busy", error: inProgress("The resource is being created by another caller", leftMs) };
    }
  }
}

/** Milliseconds by the store's clock; 0 where nobody holds the row. */
function leaseLeftMs({ leaseExpiresAt, readAt }: ResourceRow): number {
  return leaseExpiresAt === undefined ? 0 : Math.max(0, leaseExpiresAt - readAt);
}

/** Ledger first: PENDING stands there, with the caller's lease, before `create` is called. */
function grant(
  { writer, leaseMs }: ProvisionTerms,
  id: string,
  footing: Extract<Footing, { kind: "claim" | "takeOver" }>,
  spec: string | undefined,
): Promise<RowWriteResult> {
  const lease = { durationMs: leaseMs, token: "grant" } as const;
  if (footing.kind === "takeOver") {
    const { row } = footing;
    return writer.update(row, { attempt: row.attempt + 1, lease });
  }
  assertTransition(undefined, "PENDING");
  const write: RowWrite = {
    kind: "create",
    id,
    after: footing.after,
    state: "PENDING",
    ...(spec === undefined ? {} : { spec }),
    // Its spec is of no generation of what is desired.
    generation: 0,
    attempt: 1,
    lease,
  };
  return writer.write(write);
}

async function createUnderLease<Spec>(
  terms: ProvisionTerms,
  row: ResourceRow,
  grantedSince: Stopwatch,
  create: ProvisionOptions<Spec>["create"],
): Promise<Provisioned<Spec>> {
  const { writer, leaseMs, clock, group } = terms;
  const { id, incarnation, fencingToken, attempt } = row;
  const resource = resourceOf<Spec>(row);
  const idempotencyKey = actionKey({ group, id, incarnation, action: "create" });
  const ended = await callUnderLease({
    writer,
    row,
    leaseMs,
    grantedSince,
    clock,
    call: (signal) => create(resource, Object.freeze({ idempotencyKey, fencingToken, attempt, signal })),
  });
  switch (ended.status) {
    case "returned":
      return record(terms, ended.row, ended.value);
    case "lost":
      return adoptOrThrow(terms, id, ended.error);
    default:
      await letGo(terms, ended.row);
      throw ended.error;
  }
}

/** Writes down that the resource exists. */
async function record<Spec>(terms: ProvisionTerms, row: ResourceRow, returned: unknown): Promise<Provisioned<Spec>> {
  let externalId: string | undefined;
  try {
    externalId = acceptCreateResult(OWNER, row.id, returned).externalId;
  } catch (error) {
    await letGo(terms, row);
    throw error;
  }
  assertTransition(row.state, "PROVISIONED");
  const change = { state: "PROVISIONED", externalId, reason: undefined } as const;
  const result = await terms.writer.updateHeld(row, change);
  switch (result.status) {
    case "applied":
      return { resource: resourceOf<Spec>(result.row), created: true };
    case "fenced":
      throw fenced(result.epoch);
    case "conflict":
      return adoptOrThrow(terms, row.id, undefined);
  }
}

/** The row stays PENDING, for the next call to go on at once. */
async function letGo({ writer }: ProvisionTerms, row: ResourceRow): Promise<void> {
  try {
    await writer.updateHeld(row, { reason: "CreateFailed" });
  } catch {
    // The lease lapses by itself, and what `create` threw says more than this.
  }
}

/** Another caller has taken over. If it has made the resource, that is what this one wanted too. */
async function adoptOrThrow<Spec>(terms: ProvisionTerms, id: string, cause: unknown): Promise<Provisioned<Spec>> {
  const footing = footingOf(await newestRow(terms, id));
  if (footing.kind === "exists") return { resource: resourceOf<Spec>(footing.row), created: false };
  const message = "The lease of the resource was lost while it was created; another caller may be creating it now.";
  const retryAfterMs = footing.kind === "busy" ? footing.error.retryAfterMs : undefined;
  throw new EvenkeelError("LEASE_LOST", message, { retryAfterMs, ...(cause === undefined ? {} : { cause }) });
}

function inProgress(what: string, retryAfterMs: number): EvenkeelError {
  return new EvenkeelError("IN_PROGRESS", `${what}.`, { retryAfterMs });
}
