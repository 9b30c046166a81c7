import type { Answer, GroupFacts, MismatchFacts, RequestFacts, Snapshot } from "./facts.ts";

/** Keys that were not answered, were answered in two ways, or took a second body. */
export function differentAnswers(requests: readonly RequestFacts[], mismatches: readonly MismatchFacts[]): string[] {
  const wrong: string[] = [];
  for (const { key, method, path, answers, wanted } of requests) {
    const what = `${method} ${path} (${key})`;
    const [first] = answers;
    if (first === undefined) wrong.push(`${what} was never answered`);
    for (const answer of answers)
      if (!wanted.includes(answer.status)) wrong.push(`${what} was answered with ${told(answer)}`);
    if (first === undefined) continue;
    const other = answers.find(({ status, body }) => status !== first.status || body !== first.body);
    if (other !== undefined) wrong.push(`${what} was answered with ${told(first)} and with ${told(other)}`);
    // A refusal is no outcome, and not kept: whoever asks again is refused again.
    const originals = answers.filter(({ replayed, status }) => !replayed && status < 400);
    if (originals.length > 1) wrong.push(`${what} was executed ${originals.length} times`);
  }
  for (const { key, status } of mismatches)
    if (status !== 422) wrong.push(`${key} was answered with ${status} for another body`);
  return wrong;
}

function told({ status, body, copy }: Answer): string {
  return `${status} ${body.length > 120 ? `${body.slice(0, 120)}…` : body} by ${copy}`;
}

/** Groups in which the requests have not had their effects once each: what is desired, and how often it was changed. */
export function doubledEffects(groups: readonly GroupFacts[], { groups: ledger }: Snapshot): string[] {
  return groups.flatMap(({ name, expected, generationBefore, changes }) => {
    const found = ledger.find((group) => group.name === name);
    const wrong: string[] = [];
    const made = (found?.generation ?? 0) - generationBefore;
    if (made !== changes)
      wrong.push(`${name}: ${changes} requests changed what is desired, and it changed ${made} times`);
    const lost = expected.filter((id) => !found?.desired.includes(id));
    const surplus = found?.desired.filter((id) => !expected.includes(id)) ?? [];
    if (lost.length > 0) wrong.push(`${name}: the effect on ${lost.join(", ")} is lost`);
    if (surplus.length > 0) wrong.push(`${name}: ${surplus.join(", ")} came back`);
    return wrong;
  });
}
