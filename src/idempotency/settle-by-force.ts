import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { makeNonce, type Random } from "../random.ts";
import type { ExecutionStore, ExecutionView, Holder, SeizeResult, StoreCall, StoredOutcome } from "../store.ts";

/** How long the record is ours, for the one operation that settles it. Should that never come, it is abandoned again then. */
const LEASE_MS = 30_000;

/**
 * What shall become of a record: its next caller runs it, with the steps that were recorded (`released`) or anew (`forgotten`), or
 * callers get an outcome.
 */
export type ForcedSettlement =
  | { readonly as: "released" | "forgotten" }
  | { readonly as: "completed"; readonly outcome: StoredOutcome };

/** What became of a record that was to be settled by force. */
export type ForcedResult =
  | { readonly status: "settled"; readonly token: number; readonly attempt: number }
  /** It was taken from its holder, and then somebody else was quicker: its token was raised, and no more. */
  | { readonly status: "lost"; readonly token: number }
  /** It is not any more what was seen, and nothing was changed. */
  | { readonly status: Exclude<SeizeResult["status"], "seized"> };

/** What settling by force needs of whoever does it. */
export interface ForceTerms {
  readonly random: Random;
  /** One store operation, repeated as `storeOperation` does, and not ended half-way. */
  ask<T>(send: (executions: ExecutionStore, call: StoreCall) => Promise<T>): Promise<T>;
}

/**
 * Takes a record from whoever holds it, if it still is what was seen, and settles it: the holder of before is stale from then on.
 *
 * @throws EvenkeelError which says so where the record was taken, and what became of it then is not known.
 */
export async function settleByForce(
  { id, token, retentionMs }: Pick<ExecutionView, "id" | "token" | "retentionMs">,
  settlement: ForcedSettlement,
  { random, ask }: ForceTerms,
): Promise<ForcedResult> {
  const nonce = makeNonce(random);
  const request = { id, token, nonce, leaseMs: LEASE_MS, retentionMs };
  const seized = await ask((executions, call) => executions.seize(request, call));
  if (seized.status !== "seized") return { status: seized.status };
  const { attempt } = seized;
  const holder = { id, token: seized.token, nonce };
  try {
    const isSettled = await settle(holder, { attempt, retentionMs }, settlement, ask);
    return isSettled ? { status: "settled", token: holder.token, attempt } : { status: "lost", token: holder.token };
  } catch (cause) {
    const taken = `its token was raised to ${holder.token}, but whether it was ${settlement.as} is not known`;
    const code = isEvenkeelError(cause) ? cause.code : "STORE_UNAVAILABLE";
    throw new EvenkeelError(code, `${taken}: look at it again`, { cause });
  }
}

async function settle(
  holder: Holder,
  { attempt, retentionMs }: { readonly attempt: number; readonly retentionMs: number },
  settlement: ForcedSettlement,
  ask: ForceTerms["ask"],
): Promise<boolean> {
  switch (settlement.as) {
    case "released": {
      const as = { mode: "retry", attempt, retentionMs } as const;
      const { status } = await ask((executions, call) => executions.release({ ...holder, as }, call));
      return status === "released";
    }
    case "forgotten": {
      const as = { mode: "forget" } as const;
      const { status } = await ask((executions, call) => executions.release({ ...holder, as }, call));
      // Asked again after a lost answer, it finds nothing more to forget.
      return status === "released" || status === "missing";
    }
    case "completed": {
      const { outcome } = settlement;
      const { status } = await ask((executions, call) =>
        executions.complete({ ...holder, outcome, retentionMs }, call),
      );
      return status === "committed";
    }
  }
}
