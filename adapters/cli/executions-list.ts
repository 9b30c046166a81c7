import type { ExecutionView } from "../../src/store.ts";
import { type CommandContext, command } from "./command.ts";
import { EXECUTION_COLUMNS, executionJson, executionRow, type Reveal } from "./execution-text.ts";
import { EXIT } from "./exit-status.ts";
import { acceptId, acceptIdPrefix } from "./find-execution.ts";
import { count, flag, type OptionValues, oneOf, text } from "./option-spec.ts";
import { UsageError } from "./usage-error.ts";

const OPTIONS = {
  operation: text("NAME", "only records of this operation"),
  status: oneOf("STATUS", "only records that are", ["running", "abandoned", "completed"]),
  limit: count("N", "how many are listed", 50, 100_000),
  after: text("ID", "begin after this id, of which all digits are needed"),
  recent: flag("those that began last, the newest first, in place of all in the order of their ids"),
  reveal: text("ID", "show the key and the scope of this record"),
} as const;

type Options = OptionValues<typeof OPTIONS>;

/** How many records are asked for at a time. */
const PAGE = 500;

/** What is in the ledger of idempotency. */
export const executionsList = command({
  name: "executions list",
  summary: "list executions: what runs, what was abandoned, what is remembered",
  details: [
    "Keys and scopes are shown as digests. Records that have expired are not there, purged or not.",
    "Those that can't be read are not there either: see evenkeel doctor.",
  ],
  options: OPTIONS,
  async run({ options, json, output, clock, store, ask }) {
    if (options.recent && (options.status !== undefined || options.after !== undefined)) {
      throw new UsageError("--recent goes with neither --status nor --after");
    }
    const after = options.after === undefined ? undefined : acceptId(options.after, "--after");
    const revealed = options.reveal === undefined ? undefined : acceptIdPrefix(options.reveal, "--reveal");
    const { found, next } = await find({ ...options, after }, { store, ask });
    const matching = found.filter(({ id }) => revealed !== undefined && id.startsWith(revealed));
    if (matching.length > 1) throw new UsageError("--reveal names more than one record; say more digits of its id");
    const revealOf = (view: ExecutionView): Reveal => (matching.includes(view) ? "revealed" : "hashed");
    const isMissed = revealed !== undefined && matching.length === 0;
    if (isMissed) output.note("--reveal names none of these");
    const status = isMissed ? EXIT.finding : EXIT.done;
    if (json) {
      const executions = found.map((view) => executionJson(view, revealOf(view)));
      output.json({ executions, ...(next === undefined ? {} : { next }) });
      return status;
    }
    if (found.length === 0) output.line("no executions");
    else {
      const nowMs = clock.now();
      const columns = matching.length === 0 ? EXECUTION_COLUMNS : [...EXECUTION_COLUMNS, { head: "key" }];
      const keyOf = (view: ExecutionView): string => (matching.includes(view) ? (view.key ?? "not kept") : "-");
      await output.table(
        columns,
        found.map((view) => [
          ...executionRow(view, revealOf(view), nowMs),
          ...(matching.length === 0 ? [] : [keyOf(view)]),
        ]),
      );
    }
    if (next !== undefined) output.note(`there are more: --after ${next}`);
    return status;
  },
});

async function find(
  { operation, status, limit, after, recent }: Options,
  { store, ask }: Pick<CommandContext<Options>, "store" | "ask">,
): Promise<{ readonly found: readonly ExecutionView[]; readonly next?: string }> {
  const { executions } = await store();
  const which = operation === undefined ? {} : { operation };
  if (recent) return { found: await ask((call) => executions.recent({ ...which, limit }, call)) };
  const found: ExecutionView[] = [];
  for (let from = after; ; from = found.at(-1)?.id) {
    // One more than is shown, to know whether it is the last.
    const wanted = Math.min(PAGE, limit + 1 - found.length);
    const request = {
      ...which,
      ...(status === undefined ? {} : { status }),
      ...(from === undefined ? {} : { after: from }),
      limit: wanted,
    };
    const page = await ask((call) => executions.list(request, call));
    found.push(...page);
    if (found.length > limit) {
      const shown = found.slice(0, limit);
      return { found: shown, next: shown.at(-1)?.id ?? "" };
    }
    if (page.length < wanted) return { found };
  }
}
