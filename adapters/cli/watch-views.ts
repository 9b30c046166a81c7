import { shownName } from "../../src/shown-text.ts";
import { momentText } from "./moment-text.ts";
import type { Output } from "./output.ts";
import { changeText, type WatchChange } from "./watch-change.ts";
import type { GroupSnapshot } from "./watched-group.ts";
import { holdersAsChanges, type LedgerSnapshot } from "./watched-ledger.ts";

/** Where it is told what `watch` sees. */
export interface WatchView {
  changed(change: WatchChange): void;
  /** The ledger answered. */
  seen(snapshot: LedgerSnapshot, nowMs: number): void;
  /** It did not; once for each time that this begins, and when the reason is another one. */
  unknown(why: string, nowMs: number): void;
  /** Nothing is shown after this. */
  end(): void;
}

/** One line a change, for logs and pipes. */
export function lineView(output: Output): WatchView {
  let isFirst = true;
  let unknown: string | undefined;
  const line = (at: number, text: string): void => output.line(`${momentText(at)}  ${shownName(text)}`);
  return {
    changed: (change) => line(change.at, changeText(change)),
    seen({ groups, elections }, nowMs) {
      if (unknown !== undefined) line(nowMs, "the ledger answers again");
      unknown = undefined;
      if (!isFirst) return;
      isFirst = false;
      for (const group of groups) line(nowMs, summaryOf(group));
      for (const { name, holder, epoch } of elections) line(nowMs, `${name}  ${holder} leads, epoch ${epoch}`);
    },
    unknown(why, nowMs) {
      if (why !== unknown) line(nowMs, `unknown: the ledger does not answer: ${why}`);
      unknown = why;
    },
    end() {},
  };
}

function summaryOf({ group, desired, observed, drift, converged, unreadable }: GroupSnapshot): string {
  if (unreadable !== undefined) return `${group}  unreadable: ${unreadable}`;
  const counts = Object.entries(observed).map(([state, count]) => `${state} ${count}`);
  const { missing, surplus, outdated, silent } = drift;
  const word = converged ? "converged" : "not converged";
  return `${group}  desired ${desired}  ${counts.join(" ")}  missing ${missing} surplus ${surplus} outdated ${outdated} silent ${silent}  ${word}`;
}

/** One JSON document a line: `group` whenever a group's numbers are others, who leads and who has shards at first, and each change. */
export function jsonView(output: Output): WatchView {
  const told = new Map<string, string>();
  let isFirst = true;
  let unknown: string | undefined;
  return {
    changed: (change) => output.jsonLine(change),
    seen({ groups, elections, divisions }, nowMs) {
      if (unknown !== undefined) output.jsonLine({ type: "known", at: nowMs });
      unknown = undefined;
      for (const group of groups) {
        const text = JSON.stringify(group);
        if (told.get(group.group) === text) continue;
        told.set(group.group, text);
        output.jsonLine({ type: "group", at: nowMs, ...group });
      }
      if (isFirst) for (const change of holdersAsChanges(elections, divisions, nowMs)) output.jsonLine(change);
      isFirst = false;
    },
    unknown(why, nowMs) {
      if (why !== unknown) output.jsonLine({ type: "unknown", at: nowMs, why });
      unknown = why;
    },
    end() {},
  };
}
