import { isEvenkeelError } from "../../src/errors.ts";
import { type CommandContext, command } from "./command.ts";
import { reasonOf } from "./doctor-check.ts";
import { duration, text } from "./option-spec.ts";
import { screenView } from "./watch-screen.ts";
import { jsonView, lineView, type WatchView } from "./watch-views.ts";
import { WatchedLedger } from "./watched-ledger.ts";

/** Desired beside observed, live, until it is interrupted. */
export const watch = command({
  name: "watch",
  summary: "show desired beside observed, live, until it is interrupted",
  details: [
    "Redraws a terminal in place; elsewhere it prints a line for each change, with --json a JSON document a line.",
    "A ledger that does not answer is shown as unknown, beside what it was last, and watching goes on once it does.",
  ],
  options: {
    group: text("GROUP", "only this group"),
    interval: duration("how often the ledger is asked what changed", "1s"),
    "silent-after": duration("how long ago a heartbeat may be", "30s"),
  },
  async run(context) {
    const { options, clock, signal } = context;
    const store = await context.store();
    const view = viewOf(context, store.engine);
    const ledger = new WatchedLedger({
      ...{ store, group: options.group, silentMs: Math.max(1, options["silent-after"]) },
      ask: async (send) => {
        // What hangs is told before it has failed.
        const late = clock.setTimer(LATE_MS, () => view.unknown("no answer yet", clock.now()));
        return context.ask(send).finally(() => late.clear());
      },
    });
    try {
      for (;;) {
        await look(ledger, view, context);
        await clock.sleep(Math.max(1, options.interval), signal);
      }
    } finally {
      view.end();
    }
  },
});

/** After how long without an answer nothing is known of the ledger. */
const LATE_MS = 2_000;

async function look(ledger: WatchedLedger, view: WatchView, context: CommandContext<unknown>): Promise<void> {
  const { clock, signal } = context;
  try {
    const snapshot = await ledger.look(clock.now(), view.changed);
    view.seen(snapshot, clock.now());
  } catch (error) {
    signal.throwIfAborted();
    if (!isEvenkeelError(error) || error.code !== "STORE_UNAVAILABLE") throw error;
    view.unknown(reasonOf(error), clock.now());
  }
}

function viewOf({ json, output, clock }: CommandContext<unknown>, engine: string): WatchView {
  if (json) return jsonView(output);
  return output.isTty ? screenView(output, engine, clock) : lineView(output);
}
