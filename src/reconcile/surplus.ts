import { invalidOptions } from "../option-rules.ts";
import { dropRejection } from "../rejections.ts";
import type { ResourceRecord } from "../resources/resource.ts";
import type { ResourceState } from "../store.ts";

/** A resource that may have to go because there are too many. */
export interface SurplusCandidate<Spec = unknown> {
  readonly resource: ResourceRecord<Spec>;
  /** Whether it has fallen silent. */
  readonly stale: boolean;
  /** The cheapest goes first. A finite number. */
  readonly deletionCost: number;
}

/**
 * Which of two surplus resources goes first: negative for `a`, positive for `b`, 0 to leave it to the default order.
 * Answers the same for the same two.
 */
export type SurplusOrder<Spec = unknown> = (a: SurplusCandidate<Spec>, b: SurplusCandidate<Spec>) => number;

/** What is not up yet is given up first; what is on its way out already stands before all. */
const STATE_RANK: Readonly<Record<ResourceState, number>> = {
  TERMINATED: 0,
  TERMINATING: 1,
  PENDING: 2,
  FAILED: 3,
  PROVISIONED: 4,
};

/**
 * The candidates in the order in which they have to go, whatever order they came in: by `order`, then those that are not
 * PROVISIONED (PENDING before FAILED), the stale, the lowest deletion cost, the lowest generation, the youngest, the highest
 * id ({@link compareNatural}: `web-10` goes before `web-9`), and the highest incarnation. The model is the ranking of a
 * Kubernetes ReplicaSet (`controller_utils.go`, `ActivePodsWithRanks`).
 *
 * @throws EvenkeelError `INVALID_OPTIONS` where `order` answers anything but a number.
 */
export function rankSurplus<Spec>(
  candidates: Iterable<SurplusCandidate<Spec>>,
  order?: SurplusOrder<Spec>,
): SurplusCandidate<Spec>[] {
  const ranked = [...candidates].sort(byDefault);
  if (order === undefined) return ranked;
  // A second, stable sort and not one of both: the ranking is independent of the input even under an inconsistent order.
  return ranked.sort((a, b) => {
    const answer: unknown = order(a, b);
    if (dropRejection(answer) || typeof answer !== "number" || Number.isNaN(answer))
      throw invalidOptions("Reconciler", "surplus must answer a number that is not NaN");
    return answer;
  });
}

/** The default order of two candidates: 0 only for two of one incarnation. */
export function byDefault(a: SurplusCandidate<unknown>, b: SurplusCandidate<unknown>): number {
  return (
    STATE_RANK[a.resource.state] - STATE_RANK[b.resource.state] ||
    Number(b.stale) - Number(a.stale) ||
    a.deletionCost - b.deletionCost ||
    a.resource.generation - b.resource.generation ||
    b.resource.createdAt - a.resource.createdAt ||
    compareNatural(b.resource.id, a.resource.id) ||
    b.resource.incarnation - a.resource.incarnation
  );
}

/**
 * Compares texts by code points, but runs of the digits 0 to 9 by their value, of any length. Texts that differ in leading
 * zeros alone are compared by code points, so that only equal texts are equal: a total order.
 */
export function compareNatural(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (isDigit(a, i) && isDigit(b, j)) {
      const endOfA = endOfDigits(a, i);
      const endOfB = endOfDigits(b, j);
      i = endOfZeros(a, i, endOfA);
      j = endOfZeros(b, j, endOfB);
      const longer = endOfA - i - (endOfB - j);
      if (longer !== 0) return Math.sign(longer);
      for (; i < endOfA; i += 1, j += 1) {
        const difference = a.charCodeAt(i) - b.charCodeAt(j);
        if (difference !== 0) return Math.sign(difference);
      }
    } else {
      const difference = codePointRank(a, i) - codePointRank(b, j);
      if (difference !== 0) return Math.sign(difference);
      i += 1;
      j += 1;
    }
  }
  return Math.sign(a.length - i - (b.length - j)) || comparePlain(a, b);
}

function comparePlain(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const difference = codePointRank(a, i) - codePointRank(b, i);
    if (difference !== 0) return Math.sign(difference);
  }
  return Math.sign(a.length - b.length);
}

function isDigit(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0x30 && unit <= 0x39;
}

function endOfDigits(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && isDigit(text, end)) end += 1;
  return end;
}

function endOfZeros(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && text.charCodeAt(at) === 0x30) at += 1;
  return at;
}

/** Orders UTF-16 units as their code points: surrogates stand for points above all others. */
function codePointRank(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
