import { type Letter, type Reply, send } from "./client.ts";
import type { Addressee } from "./delivery.ts";
import type { MismatchFacts } from "./facts.ts";
import { until } from "./patience.ts";

/**
 * Sends letters whose keys stand for others, through whichever copy answers.
 * @returns what they were answered with; 0 where none did, and then the rest is left.
 */
export async function sendForgeries(
  letters: readonly Letter[],
  copies: () => readonly Addressee[],
): Promise<MismatchFacts[]> {
  const mismatches: MismatchFacts[] = [];
  for (const letter of letters) {
    const status = await statusOf(letter, copies);
    mismatches.push({ key: letter.key, status });
    if (status === 0) break;
  }
  return mismatches;
}

async function statusOf(letter: Letter, copies: () => readonly Addressee[]): Promise<number> {
  let status = 0;
  // Nobody may be able to say yet.
  await until(async () => {
    for (const copy of copies()) {
      const reply: Reply = await send(copy, letter);
      if (reply.kind === "again") continue;
      status = reply.answer.status;
      return true;
    }
    return false;
  });
  return status;
}
