import { recordCorrupt } from "../../src/execution-record.ts";
import type { ClaimResult, CompleteResult, ReleaseResult, SeizeResult } from "../../src/store.ts";
import { committedOf, stepsOf, text, whole } from "./redis-rows.ts";

/** An answer whose first part has been read as a text. */
export type Answer = readonly [status: string, ...rest: unknown[]];

/** @throws EvenkeelError `RECORD_CORRUPT`, as the script says. */
export function answerOf(answer: unknown[]): Answer {
  const status = text(answer[0]);
  if (status === "corrupt") throw recordCorrupt(text(answer[1]));
  answer[0] = status;
  return answer as [string, ...unknown[]];
}

/** `relet` is told apart only for `durability`. */
export function claimResultOf(answer: Answer): ClaimResult {
  const [status, ...rest] = answer;
  switch (status) {
    case "acquired":
    case "relet": {
      const [attempt, token, leaseRemainingMs, abandonedAt, ...steps] = rest;
      const before = text(abandonedAt);
      return {
        status: "acquired",
        attempt: whole(attempt),
        token: whole(token),
        leaseRemainingMs: whole(leaseRemainingMs),
        ...(before === "-" ? {} : { abandonedAt: whole(before) }),
        steps: stepsOf(steps),
      };
    }
    case "completed":
      return { status, ...committedOf(rest[0], rest[1]) };
    case "running":
      return { status, attempt: whole(rest[0]), leaseRemainingMs: whole(rest[1]) };
    case "abandoned": {
      const [attempt, leaseExpiredAt, ...steps] = rest;
      return { status, attempt: whole(attempt), leaseExpiredAt: whole(leaseExpiredAt), steps: stepsOf(steps) };
    }
    default:
      return { status: "mismatch" };
  }
}

/** `relet` as in {@link claimResultOf}. */
export function seizeResultOf([status, ...rest]: Answer): SeizeResult {
  switch (status) {
    case "seized":
    case "relet": {
      const [attempt, token, leaseRemainingMs] = rest.map(whole) as [number, number, number];
      return { status: "seized", token, attempt, leaseRemainingMs };
    }
    case "completed":
      return { status, ...committedOf(rest[0], rest[1]) };
    default:
      return { status: status as "changed" | "missing" };
  }
}

/** @param sent - The bytes of the completion that was asked for, which an answer that they stand does not repeat. */
export function settledOf([status, now, record, isSent]: Answer, sent?: Uint8Array): CompleteResult | ReleaseResult {
  if (status === "committed" || status === "finalized") {
    return { status, ...committedOf(now, record, isSent === undefined ? undefined : sent) };
  }
  return { status } as CompleteResult | ReleaseResult;
}
