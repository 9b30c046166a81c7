import { type ForcedResult, type ForcedSettlement, settleByForce } from "../../src/idempotency/settle-by-force.ts";
import { shownName } from "../../src/shown-text.ts";
import type { ExecutionView } from "../../src/store.ts";
import type { CommandContext } from "./command.ts";
import { leaseText, statusText } from "./execution-text.ts";
import { EXIT } from "./exit-status.ts";
import { findExecution, type Lookup, noExecutionText } from "./find-execution.ts";
import { UsageError } from "./usage-error.ts";

/** What an operator wants to become of a record. */
export interface Intent {
  readonly settlement: ForcedSettlement;
  /** Completes "would …". */
  readonly would: string;
  /** What the record is afterwards: half a sentence. */
  readonly says: string;
}

type Unsettled = Exclude<ForcedResult, { status: "settled" }>;
type Context = Lookup & Pick<CommandContext<{ readonly yes: boolean }>, "options"> & CommandContext<unknown>;

/**
 * Finds a record that nobody completed, takes it from its holder and settles it, and says under which tokens. The status to exit
 * with: a finding where there is no such record, or it is completed, or somebody was quicker.
 * @throws UsageError without `--yes`, which says what would happen.
 */
export async function settleNamed(
  context: Context,
  intend: (view: ExecutionView) => Intent | Promise<Intent>,
): Promise<number> {
  const { options, json, output, clock, random, conclude } = context;
  const view = await findExecution(context);
  if (view === undefined) return finding("missing", noExecutionText(context.argument));
  const { id, operation, status, token } = view;
  if (status === "completed") {
    return finding("completed", "it is completed, and completed is final: callers get its outcome");
  }
  const { settlement, would, says } = await intend(view);
  if (!options.yes) throw new UsageError(unconfirmed(would, view, clock.now()));
  const { executions } = await context.store();
  const result = await settleByForce(view, settlement, {
    random,
    ask: (send) => conclude((call) => send(executions, call)),
  });
  if (result.status !== "settled") return finding(result.status, unsettledText(result));
  const { attempt, token: tokenAfter } = result;
  if (json) {
    const before = { statusBefore: status, attempt, tokenBefore: token };
    output.json({ id, operation, result: settlement.as, ...before, tokenAfter });
  } else {
    output.fields({
      ...{ id, operation: shownName(operation), "it was": statusText(view), "it is": says, attempt: String(attempt) },
      ...{ "token before": String(token), "token after": String(tokenAfter) },
    });
  }
  return EXIT.done;

  function finding(result: Unsettled["status"], why: string): number {
    if (json) output.json({ ...(view === undefined ? {} : { id: view.id }), result, why });
    output.note(`evenkeel: ${why}`);
    return EXIT.finding;
  }
}

function unsettledText(result: Unsettled): string {
  switch (result.status) {
    case "changed":
      return "another caller has taken it over since it was looked at; nothing was changed";
    case "completed":
      return "it was completed since it was looked at; nothing was changed";
    case "missing":
      return "it is gone since it was looked at; nothing was changed";
    case "lost":
      return `somebody else has it by now; its token was raised to ${result.token}, and no more`;
  }
}

function unconfirmed(would: string, view: ExecutionView, nowMs: number): string {
  const { id, operation, attempt, token } = view;
  const state = `${statusText(view)}, attempt ${attempt}, token ${token}, lease ${leaseText(view, nowMs)}`;
  const risk = view.status === "running" ? "; its holder may be at work, and what it does outside is not undone" : "";
  return `would ${would}: ${id} of ${shownName(operation)}, ${state}${risk}. Nothing was changed; say --yes to do it`;
}
