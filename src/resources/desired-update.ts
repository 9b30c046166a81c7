import type { Clock } from "../clock.ts";
import { EvenkeelError } from "../errors.ts";
import { makeNonce, type Random } from "../random.ts";
import type { LedgerStore, SetDesiredRequest, SetDesiredResult } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import { acceptDesired, desiredTextOf } from "./desired-text.ts";
import { fenced } from "./epoch-following.ts";
import type { DesiredResource } from "./resource.ts";

/** Whoever loses so many rounds, each to somebody else's change, is told so. */
const MOST_ROUNDS = 20;
const FIRST_BACKOFF_MS = 10;
const LONGEST_BACKOFF_MS = 500;
const RETRY_AFTER_MS = 1_000;

/** What an update needs of its ledger. */
export interface UpdateTerms {
  readonly store: LedgerStore;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly storeTimeoutMs: number;
}

/** What is to be done. */
export interface DesiredUpdate<Spec> {
  /** Whom errors name. */
  readonly owner: string;
  readonly read: () => Promise<{ readonly generation: number; readonly resources: DesiredResource<Spec>[] }>;
  readonly change: (resources: DesiredResource<Spec>[]) => number | Iterable<DesiredResource<Spec>>;
}

/** See `ResourceLedger.updateDesired`: reads, changes, and sets if nobody else did meanwhile; else again, after a jittered backoff. */
export async function updateDesired<Spec>(
  terms: UpdateTerms,
  { owner, read, change }: DesiredUpdate<Spec>,
): Promise<{ generation: number }> {
  const { group, clock, random } = terms;
  for (let round = 1; ; round += 1) {
    const { generation, resources } = await read();
    const text = await desiredTextOf(await acceptDesired(owner, group, change(resources)));
    const request = { group, epoch: 0, nonce: makeNonce(random), desired: text, ifGeneration: generation };
    const result = await send(terms, request);
    if (result.status === "fenced") throw fenced(result.epoch);
    if (result.status === "set") return { generation: result.generation };
    if (round === MOST_ROUNDS) throw outrun();
    await clock.sleep(Math.min(FIRST_BACKOFF_MS * 2 ** (round - 1), LONGEST_BACKOFF_MS) * random.float());
  }
}

/** @throws EvenkeelError `STORE_UNAVAILABLE`, also where it can't be told whose change the next generation was. */
async function send(terms: UpdateTerms, request: SetDesiredRequest): Promise<SetDesiredResult> {
  const { store, clock, random, storeTimeoutMs } = terms;
  let isUnknown = false;
  const result = await storeOperation({
    clock,
    random,
    budgetMs: storeTimeoutMs,
    send: (call) => store.resources.setDesired(request, call),
    onUnknown: () => {
      isUnknown = true;
    },
  });
  // The next generation is somebody else's: were it this request's own, the store would know its nonce.
  const maybeOurs = isUnknown && result.status === "conflict" && result.generation > (request.ifGeneration ?? 0) + 1;
  if (maybeOurs) throw unknown();
  return result;
}

function outrun(): EvenkeelError {
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    `Others changed what is desired of the group ${MOST_ROUNDS} times while it was being updated. Nothing was set.`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

function unknown(): EvenkeelError {
  const cause = new Error("an answer was lost, and others have changed what is desired since");
  return new EvenkeelError(
    "STORE_UNAVAILABLE",
    "It is not known whether what is desired of the group was updated: look at it before you try again.",
    { retryAfterMs: RETRY_AFTER_MS, cause },
  );
}
