import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import type { ExecutionStore, ExecutionView } from "../../src/store.ts";
import type { CommandContext } from "./command.ts";
import { leaseText, statusText } from "./execution-text.ts";
import { EXIT } from "./exit-status.ts";
import { findExecution, type Lookup, noExecutionText } from "./find-execution.ts";
import { ChangedMeanwhile, type Seized, seize } from "./seized-execution.ts";
import { shownName } from "./shown-text.ts";
import { UsageError } from "./usage-error.ts";

/** What an operator wants to become of a record. */
export interface Intent {
  /** Completes "would …". */
  readonly would: string;
  /** What the record is afterwards: a word for programs, and half a sentence for people. */
  readonly result: string;
  readonly says: string;
  /** Settles the record as its new holder. Resolves with the status of the store's answer. */
  settle(executions: ExecutionStore, seized: Seized): Promise<"settled" | "lost">;
}

type Context = Lookup & Pick<CommandContext<{ readonly yes: boolean }>, "options"> & CommandContext<unknown>;

/**
 * Finds a record that nobody completed, takes it from its holder and settles it, and says under which tokens. The status to exit
 * with: a finding where there is no such record, or it is completed, or somebody was quicker.
 * @throws UsageError without `--yes`, which says what would happen.
 */
export async function settleByForce(
  context: Context,
  intend: (view: ExecutionView) => Intent | Promise<Intent>,
): Promise<number> {
  const { options, json, output, clock } = context;
  const view = await findExecution(context);
  if (view === undefined) return finding(noExecutionText(context.argument));
  if (view.status === "completed") return finding("it is completed, and completed is final: callers get its outcome");
  const intent = await intend(view);
  if (!options.yes) throw new UsageError(unconfirmed(intent, view, clock.now()));
  try {
    const { executions } = await context.store();
    const seized = await seize(executions, view, context);
    if ((await settled(intent, executions, seized)) === "lost") {
      throw new ChangedMeanwhile(
        `somebody else has it by now; its token was raised to ${seized.holder.token}, and no more`,
      );
    }
    tell(intent, view, seized);
    return EXIT.done;
  } catch (error) {
    if (error instanceof ChangedMeanwhile) return finding(error.message);
    throw error;
  }

  function finding(what: string): number {
    output.note(`evenkeel: ${what}`);
    return EXIT.finding;
  }

  function tell({ result, says }: Intent, seen: ExecutionView, { holder, attempt }: Seized): void {
    const { id, operation, status, token } = seen;
    if (json) {
      output.json({
        id,
        operation,
        result,
        statusBefore: status,
        attempt,
        tokenBefore: token,
        tokenAfter: holder.token,
      });
      return;
    }
    output.fields({
      ...{ id, operation: shownName(operation), "it was": statusText(seen), "it is": says, attempt: String(attempt) },
      ...{ "token before": String(token), "token after": String(holder.token) },
    });
  }
}

/** @throws EvenkeelError which says that the record was taken, whatever became of it then. */
async function settled(intent: Intent, executions: ExecutionStore, seized: Seized): Promise<"settled" | "lost"> {
  try {
    return await intent.settle(executions, seized);
  } catch (cause) {
    const code = isEvenkeelError(cause) ? cause.code : "STORE_UNAVAILABLE";
    const taken = `its token was raised to ${seized.holder.token}, but whether it was ${intent.result} is not known`;
    throw new EvenkeelError(code, `${taken}: look at it again`, { cause });
  }
}

function unconfirmed({ would }: Intent, view: ExecutionView, nowMs: number): string {
  const { id, operation, attempt, token } = view;
  const state = `${statusText(view)}, attempt ${attempt}, token ${token}, lease ${leaseText(view, nowMs)}`;
  const risk = view.status === "running" ? "; its holder may be at work, and what it does outside is not undone" : "";
  return `would ${would}: ${id} of ${shownName(operation)}, ${state}${risk}. Nothing was changed; say --yes to do it`;
}
