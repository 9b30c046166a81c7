import type { ResourceRow } from "../../src/index.ts";
import type { ElectionDurations } from "../support/election-node.ts";
import type { ShardLine, TermLine } from "../support/shard-lines.ts";

/** The clocks of the engine and of the machine may differ by so much over a lease, and engines count whole milliseconds. */
const CLOCK_SLACK_MS = 50;
/** Of numbers of milliseconds that are not whole. */
const ROUNDING_MS = 0.01;

type Logs = readonly (readonly ShardLine[])[];

/** A shard that came to another epoch, from the last effect under the one to the first under the next that had any. */
export interface ShardMove {
  readonly shard: number;
  readonly from: { readonly node: string; readonly epoch: number };
  readonly to: { readonly node: string; readonly epoch: number };
  readonly gapMs: number;
}

/** What there is to say of the logs of a division. */
export interface ShardVerdict {
  /** Each in words; none, where the division kept its rules. */
  readonly violations: readonly string[];
  readonly moves: readonly ShardMove[];
  /** The writes that the ledger refused. */
  readonly fenced: readonly (ShardLine & { readonly what: "write" | "late" })[];
}

/** How a shard of a member that died came to another one. */
export interface Recovery {
  readonly shard: number;
  readonly node: string;
  /** From when the shard and the member's place were free to when it was held again. */
  readonly afterMs: number;
  /** How often its new holder had looked since it was free, the last time included. */
  readonly looks: number;
}

/** One shard under one epoch at one process, with its lines in their order. */
interface Term {
  readonly node: string;
  readonly shard: number;
  readonly epoch: number;
  readonly lines: readonly TermLine[];
}

/**
 * Holds the logs of all processes of a division against its rules.
 *
 * @param logs - one for each process, in the order in which it was written.
 */
export function judgeShards(logs: Logs, durations: ElectionDurations): ShardVerdict {
  const shards = [...groupedBy(termsOf(logs), ({ shard }) => shard).values()];
  const moves = shards.flatMap(movesOf);
  return {
    violations: [
      ...shards.flatMap(sharedEpochs),
      ...moves
        .filter(({ gapMs }) => gapMs < 0)
        .map(
          ({ shard, from, to, gapMs }) =>
            `shard ${shard}: ${from.node} had an effect under ${from.epoch} ${-gapMs} ms after the first one of ${to.node} under ${to.epoch}`,
        ),
      ...shards.flatMap((terms) => earlyTerms(terms, durations)),
      ...shards.flatMap((terms) => terms.flatMap((term) => outsideOfTerm(term, durations))),
      ...logs.flatMap(callbacksOutOfOrder),
      ...createKeys(logs),
    ],
    moves,
    fenced: logs
      .flat()
      .filter((line) => line.what === "write" || line.what === "late")
      .filter(({ answer }) => answer === "fenced"),
  };
}

/**
 * Holds what is in the ledger against what the processes were told that they had written.
 *
 * @param rows - of all writes, in the order in which the ledger took them.
 * @returns what is wrong, each in words.
 */
export function judgeWritten(logs: Logs, rows: readonly ResourceRow[]): string[] {
  const found = new Map(rows.map(({ id, spec = "" }) => [id, spec]));
  const latest = new Map<string, number>();
  const outOfOrder = rows.flatMap(({ id, spec = "" }) => {
    const [shard = "", epoch] = spec.split(" ");
    const before = latest.get(shard) ?? 0;
    latest.set(shard, Math.max(before, Number(epoch)));
    return Number(epoch) < before ? [`the ledger took ${id} of shard ${shard} under ${epoch} after ${before}`] : [];
  });
  const writes = logs.flat().filter((line) => line.what === "write");
  return [
    ...outOfOrder,
    ...writes.flatMap(({ id, shard, epoch, answer }) => {
      const isThere = found.get(id) === `${shard} ${epoch}`;
      if (answer === "applied" && !isThere) return [`${id} was applied and is not in the ledger`];
      if (answer === "fenced" && isThere) return [`${id} was fenced and is in the ledger`];
      return answer === "conflict" ? [`${id} was refused for something else than its epoch`] : [];
    }),
  ];
}

/** What became of the shards of a member that died. */
export function recoveriesOf(logs: Logs, dead: string, { leaseDurationMs }: ElectionDurations): Recovery[] {
  const ofDead = logs.flat().filter(({ node }) => node === dead);
  const lastOf = (lines: readonly ShardLine[], ...what: readonly ShardLine["what"][]): number =>
    Math.max(...lines.filter((line) => what.includes(line.what)).map(({ at }) => at));
  const leftAt = lastOf(ofDead, "staying", "member");
  return [...groupedBy(termsOf(logs), ({ shard }) => shard).values()].flatMap((terms) => {
    const at = terms.findLastIndex(({ node }) => node === dead);
    const last = terms[at];
    if (last === undefined || isReleased(last)) return [];
    const next = terms[at + 1];
    if (next === undefined) return [{ shard: last.shard, node: "nobody", afterMs: Infinity, looks: Infinity }];
    // What it sent last may have arrived, also when it did not live to hear of it.
    const freeAt = Math.max(leftAt, lastOf(last.lines, "renewing", "confirmed")) + leaseDurationMs;
    const heldAt = firstAt(next, "confirmed");
    const looks = logs.flat().filter((line) => line.what === "looking" && line.node === next.node);
    return [
      {
        shard: last.shard,
        node: next.node,
        afterMs: heldAt - freeAt,
        looks: looks.filter((line) => line.at > freeAt + CLOCK_SLACK_MS && line.at <= heldAt).length,
      },
    ];
  });
}

/** From one look of a process at who is there to the next: the median, in milliseconds. */
export function lookPeriodMs(log: readonly ShardLine[]): number {
  const looks = log.filter(({ what }) => what === "looking").map(({ at }) => at);
  const periods = looks.slice(1).map((at, n) => at - (looks[n] ?? 0));
  return periods.sort((a, b) => a - b)[Math.floor(periods.length / 2)] ?? Number.POSITIVE_INFINITY;
}

/** In the order of their epochs. */
function termsOf(logs: Logs): Term[] {
  const terms = logs.flatMap((log) => {
    const ofTerms = log.filter((line): line is TermLine => "epoch" in line && line.epoch > 0);
    const groups = groupedBy(ofTerms, ({ shard, epoch }) => `${shard} ${epoch}`);
    return [...groups.values()].flatMap((lines): Term[] => {
      const [first] = lines;
      return first === undefined ? [] : [{ node: first.node, shard: first.shard, epoch: first.epoch, lines }];
    });
  });
  return terms.sort((a, b) => a.epoch - b.epoch);
}

function groupedBy<T, Key>(all: readonly T[], keyOf: (one: T) => Key): Map<Key, T[]> {
  const groups = new Map<Key, T[]>();
  for (const one of all) {
    const group = groups.get(keyOf(one));
    if (group === undefined) groups.set(keyOf(one), [one]);
    else group.push(one);
  }
  return groups;
}

function sharedEpochs(terms: readonly Term[]): string[] {
  return [...groupedBy(terms, ({ epoch }) => epoch)].flatMap(([epoch, owners]) =>
    owners.length > 1
      ? [`shard ${owners[0]?.shard}: epoch ${epoch} is that of ${owners.map(({ node }) => node).join(" and ")}`]
      : [],
  );
}

function movesOf(terms: readonly Term[]): ShardMove[] {
  const spans = terms.flatMap(({ node, shard, epoch, lines }) => {
    const times = lines.filter(isEffect).map(({ at }) => at);
    return times.length === 0
      ? []
      : [{ of: { node, epoch }, shard, first: min(times), last: -min(times.map((at) => -at)) }];
  });
  return spans.slice(1).map(({ of: to, shard, first }, n) => {
    // An effect may be as late as several epochs.
    const latest = spans.slice(0, n + 1).reduce((one, other) => (other.last >= one.last ? other : one));
    return { shard, from: latest.of, to, gapMs: first - latest.last };
  });
}

/** Nobody has a shard before the lease that was there has lapsed or was given up, and nobody gives one up before he has said so. */
function earlyTerms(terms: readonly Term[], { leaseDurationMs }: ElectionDurations): string[] {
  return terms.flatMap((term, n) => {
    const assignedAt = firstAt(term, "assigned");
    return terms.slice(0, n).flatMap((before) => {
      const where = `shard ${term.shard}: ${term.node} had it under ${term.epoch}`;
      if (isHandedOver(before) && firstAt(before, "revoked") > assignedAt)
        return [`${where} before it was revoked from ${before.node} under ${before.epoch}`];
      if (firstAt(before, "releasing") <= assignedAt) return [];
      const confirmed = before.lines.filter(({ what }) => what === "confirmed").map(({ at }) => -at);
      const earlyMs = -min(confirmed) + leaseDurationMs - assignedAt;
      return earlyMs > CLOCK_SLACK_MS ? [`${where} ${earlyMs} ms too early after ${before.epoch}`] : [];
    });
  });
}

/** What a process does under an epoch it does while it holds that, by its own deadline too, and it gives nothing up before it is done. */
function outsideOfTerm({ node, shard, epoch, lines }: Term, { renewDeadlineMs }: ElectionDurations): string[] {
  const says = (what: string): string[] => [`shard ${shard}: ${node} ${what} under ${epoch}`];
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let running = 0;
  let stage: "new" | "assigned" | "draining" | "revoked" = "new";
  return lines.flatMap((line): string[] => {
    switch (line.what) {
      case "confirmed":
        confirmedAt = Math.max(confirmedAt, line.at);
        return [];
      case "assigned":
      case "draining":
        stage = line.what;
        return [];
      case "revoked":
        stage = "revoked";
        return running > 0 ? says("was revoked before its work had settled") : [];
      case "releasing":
        return stage === "assigned" || stage === "draining" || running > 0
          ? says("released before its work had settled")
          : [];
      case "settled":
        running -= 1;
        return [];
      case "began":
      case "create":
      case "terminate":
      case "effect": {
        if (line.what !== "effect") running += 1;
        const lateMs = line.at - confirmedAt - renewDeadlineMs;
        return [
          ...(stage === "draining" && line.what === "began" ? says("began something while it was handed over") : []),
          ...(stage === "revoked" ? says("had an effect after the revocation") : []),
          ...(lateMs > ROUNDING_MS ? says(`had an effect ${lateMs} ms after its deadline`) : []),
        ];
      }
      default:
        return [];
    }
  });
}

/** assigned n, revoked n, over n for each shard, and then those of a higher epoch; a log may end anywhere. */
function callbacksOutOfOrder(log: readonly ShardLine[]): string[] {
  const order = ["assigned", "revoked", "over"] as const;
  const calls = log.filter((line) => line.what === "assigned" || line.what === "revoked" || line.what === "over");
  return [...groupedBy(calls, ({ shard }) => shard)].flatMap(([shard, ofShard]) =>
    ofShard.flatMap(({ what, epoch, node }, n) => {
      const before = ofShard[n - 1];
      const isOfTerm = before === undefined || (what === "assigned" ? epoch > before.epoch : epoch === before.epoch);
      if (what === order[n % order.length] && isOfTerm) return [];
      const after = before === undefined ? "nothing" : `${before.what} ${before.epoch}`;
      return [`shard ${shard}: ${node} had ${what} ${epoch} after ${after}`];
    }),
  );
}

function createKeys(logs: Logs): string[] {
  const creates = logs.flat().filter((line): line is ShardLine & { what: "create" } => line.what === "create");
  return [...groupedBy(creates, ({ id, incarnation }) => `${id}/${incarnation}`)].flatMap(([name, calls]) => {
    const keys = new Set(calls.map(({ key }) => key));
    return keys.size > 1 ? [`${name} was created under ${keys.size} keys`] : [];
  });
}

function isEffect({ what }: TermLine): boolean {
  return what === "began" || what === "effect" || what === "create" || what === "terminate";
}

/** It was given up on purpose. */
function isHandedOver({ lines }: Term): boolean {
  return lines.some((line) => line.what === "over" && (line.reason === "moved" || line.reason === "stopped"));
}

function isReleased(term: Term): boolean {
  return term.lines.some(({ what }) => what === "releasing");
}

/** Infinity, where there is none. */
function firstAt({ lines }: Term, what: TermLine["what"]): number {
  return lines.find((line) => line.what === what)?.at ?? Number.POSITIVE_INFINITY;
}

/** Infinity for none. There are too many to spread them into the arguments of one call. */
function min(numbers: readonly number[]): number {
  return numbers.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY);
}
