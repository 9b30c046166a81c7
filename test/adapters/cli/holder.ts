import { untilAborted } from "../../../src/abort-listeners.ts";
import { isEvenkeelError, withIdempotency } from "../../../src/index.ts";
import { openLedger } from "../../support/open-ledger.ts";
import { serve } from "../../support/workers.ts";

/** A process of a service: holds the claim of a key until somebody takes it away, and completes late. */
const [, , url = ""] = process.argv;
const { store } = await openLedger(url);

/** What became of a call whose claim was taken away. */
export interface Held {
  /** The token of the run, whose signal aborted. */
  readonly token: number;
  /** What the caller got: a value, or the code of an error. */
  readonly got: unknown;
  readonly events: readonly string[];
}

serve(async ({ key }: { readonly key: string }): Promise<Held> => {
  let token = 0;
  const events: string[] = [];
  const work = withIdempotency(
    async (_: string, ctx) => {
      token = ctx.fencingToken;
      await untilAborted(ctx.signal);
      return "late";
    },
    {
      store,
      operation: "work",
      leaseMs: 6_000,
      onLeaseLost: "throw",
      onEvent: ({ type }) => void events.push(type),
    },
  );
  const got = await work("payload", { key }).catch((error: unknown) => (isEvenkeelError(error) ? error.code : "other"));
  return { token, got, events };
});
