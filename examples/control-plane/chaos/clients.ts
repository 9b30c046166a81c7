import { setTimeout as sleep } from "node:timers/promises";
import type { Letter } from "./client.ts";
import type { Delivery } from "./delivery.ts";
import { type Dice, diceOf } from "./dice.ts";
import type { GroupFacts } from "./facts.ts";

export interface ClientsOptions {
  readonly delivery: Delivery;
  readonly seed: number;
  /** What makes the keys of this run its own. */
  readonly run: string;
  /** The group whose number is changed, and what it is at first. */
  readonly numbered: { readonly name: string; readonly desired: number; readonly generation: number };
  /** The group that single resources are added to and taken from; it is empty at first. */
  readonly listed: { readonly name: string; readonly generation: number };
  /** Aborts when no new request is to be begun. */
  readonly signal: AbortSignal;
}

/** How many add and take away side by side. */
const LISTERS = 3;

/** What all clients together have asked for, as soon as all of it is answered. */
export interface Asked {
  readonly requests: { readonly add: number; readonly set: number; readonly remove: number };
  readonly groups: readonly GroupFacts[];
  /** Keys that were answered, with letters that have the key and another body. */
  readonly forgeries: readonly Letter[];
}

/** Runs clients until the signal, and answers when they have finished what they had begun. */
export async function runClients(options: ClientsOptions): Promise<Asked> {
  const { seed, numbered, listed } = options;
  const forgeries: Letter[] = [];
  const [set, ...lists] = await Promise.all([
    setNumbers(options, diceOf(seed + 10), forgeries),
    ...Array.from({ length: LISTERS }, (_, n) => addAndRemove(options, n, diceOf(seed + 11 + n), forgeries)),
  ]);
  const left = lists.flatMap(({ left }) => left);
  const add = sum(lists.map(({ added }) => added));
  const again = sum(lists.map(({ again }) => again));
  const remove = sum(lists.map(({ removed }) => removed));
  return {
    requests: { add: add + again, set: set.changes, remove },
    groups: [
      { name: numbered.name, expected: set.expected, generationBefore: numbered.generation, changes: set.changes },
      { name: listed.name, expected: left, generationBefore: listed.generation, changes: add + remove },
    ],
    forgeries,
  };
}

/** Says how many there are to be, or which of them, one time after the other, and each time something else. */
async function setNumbers({ delivery, run, numbered, signal }: ClientsOptions, dice: Dice, forgeries: Letter[]) {
  const { name, desired } = numbered;
  const least = Math.max(1, Math.floor(desired / 2));
  const ids = (count: number) => Array.from({ length: count }, (_, n) => `${name}-${n}`);
  let count = desired;
  let changes = 0;
  while (await pause(dice.between(300, 1_500), signal)) {
    const others = Array.from({ length: desired - least + 3 }, (_, n) => least + n).filter((other) => other !== count);
    count = dice.pick(others) ?? count;
    changes += 1;
    const key = `${run}-set-${changes}`;
    const of = (wanted: number) =>
      dice.chance(0.3) ? { resources: ids(wanted).map((id) => ({ id })) } : { desired: wanted };
    const letter = { key, method: "PUT", path: `/desired/${name}` } as const;
    await delivery.deliver({ ...letter, body: JSON.stringify(of(count)) }, { wanted: [200], dice: dice.fork() });
    forgeries.push({ ...letter, body: JSON.stringify({ desired: count + 7 }) });
  }
  return { expected: ids(count), changes };
}

/** Adds resources of its own, some of them under a second key too, and takes some away again. */
async function addAndRemove(
  { delivery, run, listed, signal }: ClientsOptions,
  n: number,
  dice: Dice,
  forgeries: Letter[],
) {
  const group = listed.name;
  const left: string[] = [];
  let [added, again, removed] = [0, 0, 0];
  const add = async (id: string, key: string): Promise<void> => {
    const letter = { key, method: "POST", path: "/resources" } as const;
    // 200 where whoever was first made it so, and died before that was written down.
    const terms = { wanted: [200, 201], dice: dice.fork() };
    await delivery.deliver({ ...letter, body: JSON.stringify({ id, group }) }, terms);
    forgeries.push({ ...letter, body: JSON.stringify({ id: `${id}-forged`, group }) });
  };
  while (await pause(dice.between(300, 1_500), signal)) {
    // No more processes than the machine bears.
    const taken = left.length >= 2 || dice.chance(0.3) ? left.shift() : undefined;
    if (taken !== undefined) {
      removed += 1;
      const path = `/resources/${taken}?group=${group}`;
      // 404 where it was gone: whoever was first took it away, and died before that was written down.
      const terms = { wanted: [204, 404], dice: dice.fork() };
      await delivery.deliver({ key: `${run}-remove-${taken}`, method: "DELETE", path }, terms);
      continue;
    }
    added += 1;
    const id = `job-${n}-${added}`;
    left.push(id);
    await add(id, `${run}-add-${id}`);
    if (!dice.chance(0.2)) continue;
    again += 1;
    await add(id, `${run}-add-${id}-again`);
  }
  return { left, added, again, removed };
}

/** @returns whether it is still time to begin something. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  await sleep(ms, undefined, { signal }).catch(() => {});
  return !signal.aborted;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
