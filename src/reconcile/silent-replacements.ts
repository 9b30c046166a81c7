import type { ResourceRow } from "../store.ts";
import { isLive } from "./slot.ts";

/**
 * Why a resource was given up that did not beat any more, or said that it was ill; and why a row was made, if it was made in place
 * of such a one.
 */
export const SILENCE: ReadonlySet<string | undefined> = new Set(["HeartbeatStale", "Unhealthy"]);

interface Replacement {
  readonly id: string;
  readonly at: number;
}

/** Which slots were replaced because they had fallen silent: an outage does not come all in one pass. */
export class SilentReplacements {
  /** In the order in which they were seen. */
  #kept: Replacement[] = [];

  /** Takes a row in that is seen for the first time. */
  note(row: ResourceRow): void {
    if (row.incarnation > 1 && SILENCE.has(row.reason) && isLive(row))
      this.#kept.push({ id: row.id, at: row.createdAt });
  }

  /** The slots that were replaced after this moment, and when one last was. Those from before are forgotten. */
  since(moment: number): { readonly ids: ReadonlySet<string>; readonly lastAt?: number } {
    const last = this.#kept.at(-1);
    this.#kept = this.#kept.filter((replacement) => replacement === last || replacement.at > moment);
    const ids = new Set(this.#kept.filter(({ at }) => at > moment).map(({ id }) => id));
    return { ids, ...(last === undefined ? {} : { lastAt: last.at }) };
  }

  clear(): void {
    this.#kept = [];
  }
}
