import { setTimeout as sleep } from "node:timers/promises";
import { type IdempotentFunction, type LeaderElector, type LedgerStore, withIdempotency } from "evenkeel";

/** One run of the job. */
export interface Turn {
  /** The time that it is for. */
  readonly slot: string;
  /** Of the leader that runs it. */
  readonly epoch: number;
}

export interface ReportOptions {
  readonly store: LedgerStore;
  readonly leader: Pick<LeaderElector, "assertLeader">;
  readonly node: string;
  readonly archiveUrl: string;
  /** How long a finished slot is remembered, longer than anybody looks back. */
  readonly retentionMs: number;
  readonly say: (what: string) => void;
  /** Called between the last check and the effect, where a process should not be suspended, and may be. */
  readonly beforeEffect: () => void;
}

/**
 * The job: a report for a slot, filed in the archive. Three things keep it from being done twice, each of them for what the one before
 * can't see:
 *
 * - the ledger knows which slots are done, so that the next leader passes over them, and takes over one that was interrupted;
 * - the archive refuses an epoch that is lower than one it has seen: a former leader's, which was suspended after its last check;
 * - the archive knows the key of a report: one that was filed by a node which didn't live to remember it.
 */
export function nightlyReport(options: ReportOptions): IdempotentFunction<Turn, string> {
  const { store, leader, node, archiveUrl, retentionMs, say, beforeEffect } = options;
  return withIdempotency(
    async ({ slot, epoch }: Turn, ctx) => {
      const { attempt } = ctx;
      const time = slot.slice(11, -1);
      say(`begins ${time}`);
      const text = await write(slot, ctx.signal);
      leader.assertLeader();
      beforeEffect();
      const answer = await file(archiveUrl, { slot, epoch, attempt, node, text, key: ctx.deriveKey("file") });
      if (answer === "refused") {
        say(`is refused with ${time}: epoch ${epoch} is not the latest`);
        throw new Error(`The archive has heard of a later leader than that of epoch ${epoch}.`);
      }
      say(
        `ran ${time}${attempt === 1 ? "" : `, attempt ${attempt}`}${answer === "known" ? ": it was filed before" : ""}`,
      );
      return answer;
    },
    {
      store,
      operation: "nightly-report",
      key: ({ slot }) => slot,
      // It is the same run whoever leads.
      fingerprint: ({ slot }) => slot,
      // Where the leader before was interrupted, the next one waits until its claim has run out.
      inFlight: "wait",
      // Short, so that there is something to watch.
      leaseMs: 3_000,
      retentionMs,
    },
  );
}

/** The work, which ends when the leadership does: nothing of it has left the process. */
async function write(slot: string, signal: AbortSignal): Promise<string> {
  await sleep(300, undefined, { signal });
  return `All is well, as of ${slot}.`;
}

/** The effect. The signal doesn't end it: what was sent may have arrived. If it is too late, the archive says so. */
async function file(url: string, report: object): Promise<"filed" | "known" | "refused"> {
  const answer = await fetch(url, {
    method: "POST",
    body: JSON.stringify(report),
    signal: AbortSignal.timeout(10_000),
  });
  return ((await answer.json()) as { outcome: "filed" | "known" | "refused" }).outcome;
}
