import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import type { Step } from "../../src/reconcile/step.ts";
import { NotFound } from "../../src/resources/action-errors.ts";
import type { ActionContext, ResourceRecord } from "../../src/resources/resource.ts";
import type { ResourceRow } from "../../src/store.ts";
import {
  againStep,
  createStep,
  failStep,
  LEASE_MS,
  never,
  replaceStep,
  setUp,
  terminateStep,
} from "./executor-set-up.ts";

const SEEDS = 60;
const ROUNDS = 12;
const IDS = ["a", "b", "c"];
const RATES = { lostRequest: 0.05, lostReply: 0.08, hangBefore: 0.03, hangAfter: 0.03, duplicate: 0.05, delay: 0.1 };

/** What a planner would want, by chance. */
function stepsFor(
  rows: readonly ResourceRow[],
  wanted: ReadonlySet<string>,
  isSilent: (id: string) => boolean,
): Step[] {
  return IDS.flatMap((id): Step[] => {
    const own = rows.filter((row) => row.id === id);
    const newest = own.at(-1);
    const ends = own.filter(
      (row) =>
        row.state === "TERMINATING" ||
        (row.state !== "TERMINATED" && (!wanted.has(id) || (row !== newest && newest?.state === "PROVISIONED"))),
    );
    const steps = ends.map((row) => terminateStep(row));
    if (!wanted.has(id)) return steps;
    if (newest === undefined) return [...steps, createStep(id)];
    if (newest.state === "PENDING") return [...steps, againStep(newest)];
    if (newest.state === "FAILED" || newest.state === "TERMINATED") return [...steps, replaceStep(newest)];
    if (newest.state === "PROVISIONED" && isSilent(id)) return [...steps, failStep(newest), replaceStep(newest)];
    return steps;
  });
}

async function chaos(seed: number) {
  const random = seededRandom(seed);
  const isBy = (chance: number): boolean => random.float() < chance;
  const { clock, process, rows, calls } = setUp();
  const made = new Map<string, { readonly id: string; readonly incarnation: number }>();
  const thingOf = ({ id, incarnation }: { id: string; incarnation: number }): string => `${id}/${incarnation}`;

  /** Does its work when it is called, and then answers, fails, is slow or falls silent. */
  async function answer<T>(value: T): Promise<T> {
    if (isBy(0.1)) throw new Error("lost");
    if (isBy(0.05)) return never();
    if (isBy(0.3)) await clock.sleep(random.float() * 40_000);
    return value;
  }
  const answers = {
    create: async (resource: ResourceRecord, { idempotencyKey, signal }: ActionContext) => {
      if (isBy(0.1)) throw new Error("refused");
      // A good citizen: once the row may be another's, it makes nothing any more.
      if (isBy(0.5)) await clock.sleep(random.float() * 25_000);
      signal.throwIfAborted();
      made.set(thingOf(resource), resource);
      return answer({ externalId: idempotencyKey.slice(0, 8) });
    },
    terminate: (resource: ResourceRecord) => {
      if (isBy(0.1)) throw new Error("refused");
      if (!made.delete(thingOf(resource))) throw new NotFound();
      return answer(undefined);
    },
  };

  const processes = [1, 2, 3].map((nth) =>
    process(answers, { concurrency: 3, plan: { clock, random: seededRandom(seed * 10 + nth), rates: RATES } }),
  );
  let wanted = new Set(IDS);
  for (let round = 0; round < ROUNDS; round += 1) {
    wanted = new Set(IDS.filter(() => isBy(0.7)));
    for (const { executor } of processes) {
      const steps = stepsFor(await rows(), wanted, () => isBy(0.1)).filter(({ id }) => !executor.busy.has(id));
      executor.execute(steps, { mayBegin: () => true }).catch(() => {});
      if (isBy(0.5)) await clock.advance(random.float() * 200);
    }
    await clock.advance(random.float() * 20_000);
  }
  await clock.advance(LEASE_MS * 4);

  const healthy = process({
    create: (resource: ResourceRecord) => {
      made.set(thingOf(resource), resource);
    },
    terminate: (resource: ResourceRecord) => {
      made.delete(thingOf(resource));
    },
  });
  const plan = async (): Promise<Step[]> => stepsFor(await rows(), wanted, () => false);
  for (let steps = await plan(), pass = 0; steps.length > 0; steps = await plan(), pass += 1) {
    await healthy.run(...steps);
    expect(pass, "does not converge").toBeLessThan(8);
  }
  return { made: [...made.keys()].sort(), wanted, rows: await rows(), calls };
}

describe("three processes on one ledger, over a bad network, with an API that fails", () => {
  it("leave what is wanted, once, and nothing that no row is kept of", async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { made, wanted, rows } = await chaos(seed);
      const live = rows.filter(({ state }) => state !== "TERMINATED");
      expect(new Set(live.map(({ id }) => id)), `seed ${seed}`).toEqual(wanted);
      expect(
        live.every(({ state }) => state === "PROVISIONED"),
        `seed ${seed}`,
      ).toBe(true);
      expect(made, `seed ${seed}`).toEqual(live.map(({ id, incarnation }) => `${id}/${incarnation}`).sort());
    }
  });

  it("call each action of an incarnation under one key, each time with a fencing token of its own", async () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { calls } = await chaos(seed);
      const keys = new Map<string, Set<string>>();
      const tokens: number[] = [];
      for (const { action, resource, context } of calls) {
        const of = `${action} ${resource.id}/${resource.incarnation}`;
        keys.set(of, (keys.get(of) ?? new Set()).add(context.idempotencyKey));
        tokens.push(context.fencingToken);
      }
      expect(
        [...keys].filter(([, own]) => own.size !== 1),
        `seed ${seed}`,
      ).toEqual([]);
      expect(new Set(tokens).size, `seed ${seed}`).toBe(tokens.length);
    }
  });
});
