import type { Clock } from "../clock.ts";
import type { Random } from "../random.ts";
import { acceptDesired, desiredTextOf } from "./desired-text.ts";
import { type DesiredWriter, outrun, unknownDesired } from "./desired-writer.ts";
import type { DesiredResource } from "./resource.ts";

/** Whoever loses so many rounds, each to somebody else's change, is told so. */
const MOST_ROUNDS = 20;
const FIRST_BACKOFF_MS = 10;
const LONGEST_BACKOFF_MS = 500;

/** What an update needs of its ledger. */
export interface UpdateTerms {
  readonly writer: DesiredWriter;
  readonly group: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** What is to be done. */
export interface DesiredUpdate<Spec> {
  /** Whom errors name. */
  readonly owner: string;
  readonly read: () => Promise<{ readonly generation: number; readonly resources: DesiredResource<Spec>[] }>;
  readonly change: (resources: DesiredResource<Spec>[]) => number | Iterable<DesiredResource<Spec>>;
}

/** See `ResourceLedger.updateDesired`: reads, changes, and sets if nobody else did meanwhile; else again, after a jittered backoff. */
export async function updateDesired<Spec>(
  { writer, group, clock, random }: UpdateTerms,
  { owner, read, change }: DesiredUpdate<Spec>,
): Promise<{ generation: number }> {
  for (let round = 1; ; round += 1) {
    const { generation, resources } = await read();
    const text = await desiredTextOf(await acceptDesired(owner, group, change(resources)));
    const result = await writer.setFrom(generation, text);
    if (result.status === "set") return { generation: result.generation };
    if (result.mayBeOurs) throw unknownDesired();
    if (round === MOST_ROUNDS) throw outrun();
    await clock.sleep(Math.min(FIRST_BACKOFF_MS * 2 ** (round - 1), LONGEST_BACKOFF_MS) * random.float());
  }
}
