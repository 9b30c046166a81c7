import type { Facts } from "./facts.ts";
import { splitLeaders, staleWrites } from "./judge-epochs.ts";
import { needlessReplacements } from "./judge-replacements.ts";
import { differentAnswers, doubledEffects } from "./judge-requests.ts";
import { restlessness, unsettled } from "./judge-settling.ts";
import { untried } from "./judge-trial.ts";
import { startedTwice, strangers } from "./judge-workers.ts";

/** What was looked at, and all that was wrong with it. */
export interface Verdict {
  readonly check: string;
  readonly wrong: readonly string[];
}

/** Says of everything that a control plane promises whether it held. By what was recorded alone: the same facts, the same verdicts. */
export function judge(facts: Facts): Verdict[] {
  const expected = new Map(facts.groups.map(({ name, expected }) => [name, expected]));
  return [
    { check: "observed equals desired, by ledger, copies and processes", wrong: unsettled(facts.settled, expected) },
    { check: "then nothing is done any more", wrong: restlessness(facts.settled, facts.later, facts.lines) },
    { check: "all answers to one key are the same", wrong: differentAnswers(facts.requests, facts.mismatches) },
    { check: "one effect per key", wrong: doubledEffects(facts.groups, facts.settled) },
    { check: "no incarnation is started twice", wrong: startedTwice(facts.lines) },
    { check: "no worker is replaced without need", wrong: needlessReplacements(facts) },
    { check: "nothing runs that the ledger has not heard of", wrong: strangers(facts.strangers) },
    { check: "no stale write is accepted", wrong: staleWrites(facts) },
    { check: "one leader per epoch", wrong: splitLeaders(facts) },
    {
      check: "another copy leads when the leader is gone",
      wrong: facts.takeovers.flatMap(({ fault, former, tookMs }) =>
        tookMs === undefined ? [`no copy took over from ${former} in time (${fault})`] : [],
      ),
    },
    { check: "no copy fails", wrong: facts.crashes },
    { check: "there was something to judge", wrong: untried(facts) },
  ];
}
