import { command } from "./command.ts";
import { executionFields, executionJson } from "./execution-text.ts";
import { EXIT } from "./exit-status.ts";
import { findExecution, IDENTITY, noExecutionText } from "./find-execution.ts";
import { flag } from "./option-spec.ts";
import { outcomeJson, outcomeLines, readOutcome } from "./stored-outcome.ts";

/** One record. */
export const executionsShow = command({
  name: "executions show",
  summary: "show one execution, by its id or the first 8 digits of it, or by operation, scope and key",
  details: ["Ends with 1 where there is no such record, or its outcome can't be read."],
  argument: { name: "ID", required: "optional" },
  options: {
    ...IDENTITY,
    reveal: flag("show its key and scope"),
    outcome: flag("show its outcome: what callers get"),
  },
  async run(context) {
    const { options, json, output, clock } = context;
    const view = await findExecution(context);
    if (view === undefined) {
      if (json) output.json({ execution: null });
      output.note(`evenkeel: ${noExecutionText(context.argument)}`);
      return EXIT.finding;
    }
    const reveal = options.reveal ? "revealed" : "hashed";
    const read = options.outcome && view.status === "completed" ? readOutcome(view.id, view.outcome) : undefined;
    if (json) {
      const shown = executionJson(view, reveal);
      const outcome = read === undefined ? {} : { outcome: { ...(shown["outcome"] as object), ...outcomeJson(read) } };
      output.json({ execution: { ...shown, ...outcome } });
      return EXIT.done;
    }
    output.fields(executionFields(view, reveal, clock.now()));
    if (read !== undefined) {
      output.line();
      for (const line of outcomeLines(read)) output.line(line);
    } else if (options.outcome) output.note("it has no outcome yet");
    return EXIT.done;
  },
});
