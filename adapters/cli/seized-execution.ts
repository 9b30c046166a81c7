import { makeNonce } from "../../src/random.ts";
import type { ExecutionStore, ExecutionView, Holder, SeizeResult } from "../../src/store.ts";
import type { CommandContext } from "./command.ts";

/** How long the record is ours, for the one operation that settles it. Should that never come, it is abandoned again then. */
const LEASE_MS = 30_000;

/** A record that was taken from its holder, whose token is stale from then on. */
export interface Seized {
  readonly holder: Holder;
  readonly attempt: number;
}

/** The record is not any more what it was when it was looked at: somebody else was quicker. */
export class ChangedMeanwhile extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ChangedMeanwhile";
  }
}

const CHANGES: Readonly<Record<Exclude<SeizeResult["status"], "seized">, string>> = {
  changed: "another caller has taken it over since it was looked at; nothing was changed",
  completed: "it was completed since it was looked at; nothing was changed",
  missing: "it is gone since it was looked at; nothing was changed",
};

/**
 * Takes a record from whoever holds it, if it still is what was seen.
 * @throws ChangedMeanwhile if it isn't.
 */
export async function seize(
  executions: ExecutionStore,
  seen: ExecutionView,
  { random, conclude }: Pick<CommandContext<unknown>, "random" | "conclude">,
): Promise<Seized> {
  const { id, token, retentionMs } = seen;
  const nonce = makeNonce(random);
  const request = { id, token, nonce, leaseMs: LEASE_MS, retentionMs };
  const result = await conclude((call) => executions.seize(request, call));
  if (result.status !== "seized") throw new ChangedMeanwhile(CHANGES[result.status]);
  return { holder: { id, token: result.token, nonce }, attempt: result.attempt };
}
