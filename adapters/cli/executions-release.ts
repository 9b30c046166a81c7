import { command } from "./command.ts";
import { IDENTITY } from "./find-execution.ts";
import { flag } from "./option-spec.ts";
import { settleNamed } from "./settled-by-force.ts";

/** Lets the next caller run what somebody else has claimed. */
export const executionsRelease = command({
  name: "executions release",
  summary: "let the next caller run an abandoned execution, or by force a running one",
  details: [
    "Raises the fencing token: the holder of before is stale, its signal aborts, and it can neither complete nor record.",
    "What it has done outside of the ledger by then is done. Without --yes it says what it would do, and ends with 2.",
  ],
  argument: { name: "ID", required: "optional" },
  options: {
    ...IDENTITY,
    forget: flag("delete the record and its steps: the key accepts another payload, and attempts begin at 1"),
    yes: flag("do it"),
  },
  run: (context) =>
    settleNamed(context, () => {
      const { forget } = context.options;
      return {
        settlement: { as: forget ? "forgotten" : "released" },
        would: forget ? "forget" : "release to its next caller",
        says: forget ? "forgotten: the next caller begins anew" : "released: the next caller takes it over",
      };
    }),
});
