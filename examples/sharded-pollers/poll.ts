import type { ShardCoordinator } from "evenkeel";
import type { FeedClient } from "./feed-client.ts";
import { machineTime, type PollLine, type PollOutcome } from "./poll-log.ts";

export interface PollOptions {
  readonly shards: ShardCoordinator;
  readonly poller: string;
  readonly feeds: FeedClient;
  readonly log: (line: PollLine) => void;
  /** Called between the last check and the effect, where a process should not be suspended, and may be. */
  readonly beforeEffect: (feed: string) => void;
}

let polls = 0;

/**
 * Polls one feed. As long as it goes on, its shard is not handed over to another poller, so that nobody else polls the feed.
 *
 * That does not hold for a poller whose lease lapses meanwhile. It asks once more before its effect; and in case that it is suspended
 * just after it has asked, the epoch goes along, so that the server can refuse it.
 *
 * @throws EvenkeelError `NOT_LEADER` where the shard is not ours.
 */
export function poll(feed: string, options: PollOptions): Promise<PollOutcome> {
  const { shards, poller, feeds, log, beforeEffect } = options;
  let heldAt = machineTime();
  return shards.run(feed, async ({ shard, epoch }) => {
    polls += 1;
    const line = { poll: `${process.pid}-${polls}`, poller, pid: process.pid, feed, shard, epoch };
    const ask = (kind: "read" | "file") => feeds.ask({ kind, feed, shard, epoch, poller });
    const end = (outcome: PollOutcome, at = machineTime()): PollOutcome => {
      log({ ...line, what: "end", at, outcome, heldAt });
      return outcome;
    };

    log({ ...line, what: "begin", at: machineTime(), heldAt });
    try {
      // Short enough to be waited for. What takes longer than one wants a shard to wait would listen to `signal`.
      if ((await ask("read")).refused) return end("refused");
      const askedAt = machineTime();
      // Also true while the shard is about to be handed over, unlike `owns`.
      if (shards.epochOf(feed) !== epoch) return end("dropped");
      heldAt = askedAt;
      beforeEffect(feed);
      const { refused, at } = await ask("file");
      return refused ? end("refused") : end("filed", at);
    } catch {
      return end("failed");
    }
  });
}
