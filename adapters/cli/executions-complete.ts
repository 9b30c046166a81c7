import { command } from "./command.ts";
import { IDENTITY } from "./find-execution.ts";
import { makeOutcome, OUTCOME } from "./given-outcome.ts";
import { flag } from "./option-spec.ts";
import { settleNamed } from "./settled-by-force.ts";

/** Gives a record the outcome that somebody has found out. */
export const executionsComplete = command({
  name: "executions complete",
  summary: "give an execution the outcome that its callers shall get",
  details: [
    "For when you have found out what became of it: whoever waits gets the outcome at once, and later callers replay it.",
    "--value is plain JSON. The tagged JSON of `executions show --json` ($date and the like) would stay the object that it is.",
    "Raises the fencing token first, as a release does. Without --yes it says what it would do, and ends with 2.",
  ],
  argument: { name: "ID", required: "optional" },
  options: { ...IDENTITY, ...OUTCOME, yes: flag("do it") },
  run: (context) =>
    settleNamed(context, async (view) => {
      const { outcome, says } = await makeOutcome(view, context);
      return {
        settlement: { as: "completed", outcome },
        would: `complete with ${says}`,
        says: `completed with ${says}`,
      };
    }),
});
