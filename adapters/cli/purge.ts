import { SingleBar } from "cli-progress";
import { purgeInBatches } from "../../src/idempotency/purge-in-batches.ts";
import type { LedgerStore } from "../../src/store.ts";
import { storeOperation } from "../../src/store-operation.ts";
import { type CommandContext, command } from "./command.ts";
import { durationText } from "./duration-text.ts";
import { EXIT } from "./exit-status.ts";
import { count, duration, text } from "./option-spec.ts";

/** How far a purge has come. */
interface Purged {
  executions: number;
  resources: number;
}

interface Terms
  extends Pick<CommandContext<unknown>, "clock" | "random" | "timeoutMs" | "conclude" | "signal" | "output"> {
  /** Opened before anything is deleted: it is not to be had any more once the command is interrupted. */
  readonly ledger: LedgerStore;
  readonly batch: number;
}

const GROUPS_A_PAGE = 100;

/** One step keeps others from writing to a SQLite file. */
const MOST_AT_ONCE = 10_000;

/** Gives back the room of what nobody needs any more. */
export const purge = command({
  name: "purge",
  summary: "delete expired executions, and resources that were terminated a while ago",
  details: [
    "In batches, each a step of its own: Ctrl-C ends it after the one that runs, and what is deleted stays deleted.",
    "Expired executions count as absent, purged or not. With --group only resources of that group are deleted.",
  ],
  options: {
    "older-than": duration("how long ago a resource has to be terminated", "1h"),
    group: text("GROUP", "only terminated resources of this group, and no executions"),
    batch: count("N", "how many are deleted in one step", 1_000, MOST_AT_ONCE),
  },
  async run(context) {
    const { options, json, output, signal } = context;
    const { group, batch } = options;
    const terms = { ...context, batch, ledger: await context.store() };
    const purged: Purged = { executions: 0, resources: 0 };
    if (group === undefined) await purgeExecutions(purged, terms);
    for await (const name of group === undefined ? groupsOf(terms) : [group]) {
      await purgeResources(purged, name, options["older-than"], terms);
    }
    const isInterrupted = signal.aborted;
    if (json) output.json({ ...purged, interrupted: isInterrupted });
    else {
      const resources = `${purged.resources} resources terminated at least ${durationText(options["older-than"])} ago`;
      const what = group === undefined ? `${purged.executions} expired executions and ${resources}` : resources;
      output.line(`${isInterrupted ? "interrupted after it had deleted" : "deleted"} ${what}`);
    }
    if (isInterrupted) throw signal.reason;
    return EXIT.done;
  },
});

async function purgeExecutions(purged: Purged, terms: Terms): Promise<void> {
  const { ledger, clock, random, timeoutMs, signal, batch } = terms;
  const { executions } = ledger;
  const progress = await showProgress(terms);
  try {
    if (signal.aborted) return;
    for await (const now of purgeInBatches({ executions, batchSize: batch, clock, random, budgetMs: timeoutMs })) {
      purged.executions += now;
      progress.update(purged.executions);
      if (signal.aborted) return;
    }
  } finally {
    progress.stop();
  }
}

async function purgeResources(
  purged: Purged,
  group: string,
  ageMs: number,
  { ledger, clock, random, timeoutMs, signal, batch }: Terms,
): Promise<void> {
  const { resources } = ledger;
  while (!signal.aborted) {
    const { purged: now } = await storeOperation({
      ...{ clock, random, budgetMs: timeoutMs, silence: "wait" },
      send: (call) => resources.purge({ group, ageMs, limit: batch }, call),
    });
    purged.resources += now;
    if (now === 0) return;
  }
}

async function* groupsOf({ ledger, conclude, signal }: Terms): AsyncGenerator<string> {
  const { resources } = ledger;
  for (let after: string | undefined; !signal.aborted; ) {
    const request = { limit: GROUPS_A_PAGE, ...(after === undefined ? {} : { after }) };
    const groups = await conclude((call) => resources.listGroups(request, call));
    yield* groups;
    after = groups.at(-1);
    if (groups.length < GROUPS_A_PAGE) return;
  }
}

/** A bar on a terminal's stderr; nothing elsewhere. */
async function showProgress({ ledger, conclude, output: { stderr } }: Terms) {
  const nothing = { update() {}, stop() {} };
  if (stderr.isTTY !== true) return nothing;
  // Where they can't be counted in time they can be deleted all the same.
  const { count: total } = await conclude((call) => ledger.executions.countExpired(call)).catch(() => ({ count: 0 }));
  if (total === 0) return nothing;
  const bar = new SingleBar({
    format: "expired executions {bar} {percentage}% | {value} of {total}",
    stream: stderr,
    clearOnComplete: true,
    hideCursor: true,
    // What ends the command is its own business.
    gracefulExit: false,
  });
  bar.start(total, 0);
  return {
    update(value: number) {
      // Others expire while these are deleted.
      if (value > bar.getTotal()) bar.setTotal(value);
      bar.update(value);
    },
    stop: () => bar.stop(),
  };
}
