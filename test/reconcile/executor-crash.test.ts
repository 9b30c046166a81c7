import { describe, expect, it } from "vitest";
import { isUpdateOpen } from "../../src/reconcile/open-update.ts";
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
  updateStep,
} from "./executor-set-up.ts";

/** More events than any of the scenarios has. */
const MOST_EVENTS = 12;
const MOST_PASSES = 12;
const NEW_SPEC = '{"size":2}';

/** An API that makes one thing for one key, as good ones do. */
class CloudApi {
  readonly keys = new Map<string, string>();
  readonly things = new Map<string, { readonly id: string; readonly incarnation: number; spec: unknown }>();
  readonly terminateKeys = new Set<string>();
  readonly updateKeys = new Set<string>();

  create({ id, incarnation, spec }: ResourceRecord<unknown>, { idempotencyKey }: ActionContext) {
    const known = this.keys.get(idempotencyKey);
    if (known !== undefined) return { externalId: known };
    const externalId = `vm-${this.keys.size + 1}`;
    this.keys.set(idempotencyKey, externalId);
    this.things.set(externalId, { id, incarnation, spec });
    return { externalId };
  }

  terminate({ externalId = "" }: ResourceRecord<unknown>, { idempotencyKey }: ActionContext): void {
    this.terminateKeys.add(idempotencyKey);
    if (!this.things.delete(externalId)) throw new NotFound();
  }

  update({ externalId = "", spec }: ResourceRecord<unknown>, { idempotencyKey }: ActionContext): void {
    this.updateKeys.add(idempotencyKey);
    const thing = this.things.get(externalId);
    if (thing !== undefined) thing.spec = spec;
  }
}

interface Wish {
  readonly wanted: boolean;
  readonly spec?: string;
  /** The first incarnation fell silent, or is known not to exist any more. */
  readonly first?: "stale" | "gone";
}

/** As much of a planner as the scenarios need. */
function planOf(id: string, rows: readonly ResourceRow[], { wanted, spec, first }: Wish): Step[] {
  const newest = rows.at(-1);
  const specIn = spec === undefined ? {} : { spec };
  const steps: Step[] = [];
  for (const row of rows) {
    const isOld = row !== newest && newest?.state === "PROVISIONED";
    if (row.state === "TERMINATING" || (row.state !== "TERMINATED" && (!wanted || isOld)))
      steps.push(terminateStep(row));
  }
  if (!wanted) return steps;
  if (newest === undefined) steps.push(createStep(id, specIn));
  else if (newest.state === "PENDING") steps.push(againStep(newest));
  else if (newest.state === "FAILED" || newest.state === "TERMINATED") steps.push(replaceStep(newest, specIn));
  else if (newest.state === "PROVISIONED" && first !== undefined && newest.incarnation === 1)
    steps.push(
      ...(first === "stale" ? [failStep(newest), replaceStep(newest)] : [replaceStep(newest, { gone: newest })]),
    );
  else if (newest.state === "PROVISIONED" && spec !== undefined && (newest.spec !== spec || isUpdateOpen(newest)))
    steps.push(updateStep(newest, spec, 2));
  return steps;
}

/** Runs a scenario with a crash of the first process at its n-th event, and lets a second process finish. */
async function crashAt(nth: number, when: "before" | "after", wish: Wish, before?: "PROVISIONED") {
  const { clock, calls, process, rows, seed } = setUp();
  const api = new CloudApi();
  if (before !== undefined) {
    await seed(before, { externalId: "vm-0" });
    api.things.set("vm-0", { id: "a", incarnation: 1, spec: undefined });
  }
  let events = 0;
  const isDead = (): boolean => events >= nth;
  const crashing = (effect: (resource: ResourceRecord<unknown>, context: ActionContext) => unknown) => {
    return (resource: ResourceRecord<unknown>, context: ActionContext): unknown => {
      events += 1;
      if (events < nth) return effect(resource, context);
      if (when === "after") effect(resource, context);
      return never();
    };
  };
  const answersOf = (wrap: typeof crashing) => ({
    create: wrap((resource, context) => api.create(resource, context)),
    terminate: wrap((resource, context) => api.terminate(resource, context)),
    update: wrap((resource, context) => api.update(resource, context)),
  });

  const first = process(answersOf(crashing), {
    plan: {
      decide: () => {
        events += 1;
        if (events < nth) return undefined;
        return events === nth && when === "after" ? "hangAfter" : "hangBefore";
      },
    },
  });
  for (let pass = 0; pass < MOST_PASSES && !isDead(); pass += 1) {
    const steps = planOf("a", await rows(), wish);
    first.executor.execute(steps, { mayBegin: () => !isDead() }).catch(() => {});
    await clock.advance(0);
  }
  const hasCrashed = isDead();

  // Its lease lapses, and what waits for the dead store ends.
  await clock.advance(LEASE_MS * 3);
  const second = process(answersOf((effect) => effect));
  let passes = 0;
  for (let steps = planOf("a", await rows(), wish); steps.length > 0; steps = planOf("a", await rows(), wish)) {
    const passed = second.run(...steps);
    await clock.advance(0);
    await passed;
    passes += 1;
    expect(passes).toBeLessThan(MOST_PASSES);
  }
  return { api, calls, hasCrashed, rows: await rows() };
}

const crashes = (["before", "after"] as const).flatMap((when) =>
  Array.from({ length: MOST_EVENTS }, (_, at) => [at + 1, when] as const),
);

describe("a process that dies", () => {
  it("at any await of a creation leaves one resource, made under one key", async () => {
    let crashed = 0;
    for (const [nth, when] of crashes) {
      const { api, calls, hasCrashed, rows } = await crashAt(nth, when, { wanted: true, spec: NEW_SPEC });
      crashed += hasCrashed ? 1 : 0;
      expect([...api.things.values()], `${when} ${nth}`).toEqual([{ id: "a", incarnation: 1, spec: { size: 2 } }]);
      expect(new Set(calls.map(({ context }) => context.idempotencyKey)).size, `${when} ${nth}`).toBe(1);
      expect(rows).toMatchObject([{ state: "PROVISIONED", incarnation: 1, externalId: "vm-1" }]);
      expect(rows[0]?.leaseExpiresAt).toBeUndefined();
    }
    // The write of PENDING, the call, the write of PROVISIONED: each before and after.
    expect(crashed).toBe(6);
  });

  it("at any await of a replacement leaves the new resource alone, made under one key", async () => {
    let crashed = 0;
    for (const [nth, when] of crashes) {
      const wish = { wanted: true, first: "stale" } as const;
      const { api, hasCrashed, rows } = await crashAt(nth, when, wish, "PROVISIONED");
      crashed += hasCrashed ? 1 : 0;
      expect([...api.things.values()], `${when} ${nth}`).toMatchObject([{ id: "a", incarnation: 2 }]);
      expect(api.keys.size, `${when} ${nth}`).toBe(1);
      expect(api.terminateKeys.size, `${when} ${nth}`).toBe(1);
      expect(rows).toMatchObject([
        { state: "TERMINATED", incarnation: 1, reason: "HeartbeatStale" },
        { state: "PROVISIONED", incarnation: 2 },
      ]);
    }
    // FAILED; PENDING, the call, PROVISIONED; TERMINATING, the call, TERMINATED.
    expect(crashed).toBe(14);
  });

  it("at any await of making one anew that is gone leaves one, made under one key", async () => {
    for (const [nth, when] of crashes) {
      const { api, rows } = await crashAt(nth, when, { wanted: true, first: "gone" }, "PROVISIONED");
      expect(api.keys.size, `${when} ${nth}`).toBe(1);
      expect(rows).toMatchObject([
        { state: "TERMINATED", incarnation: 1 },
        { state: "PROVISIONED", incarnation: 2 },
      ]);
    }
  });

  it("at any await of a termination leaves nothing, ended under one key", async () => {
    for (const [nth, when] of crashes) {
      const { api, rows } = await crashAt(nth, when, { wanted: false }, "PROVISIONED");
      expect(api.things.size, `${when} ${nth}`).toBe(0);
      expect(api.terminateKeys.size, `${when} ${nth}`).toBe(1);
      expect(rows).toMatchObject([{ state: "TERMINATED", reason: "Surplus" }]);
    }
  });

  it("at any await of an update leaves the new spec, brought about under one key", async () => {
    for (const [nth, when] of crashes) {
      const { api, rows } = await crashAt(nth, when, { wanted: true, spec: NEW_SPEC }, "PROVISIONED");
      expect([...api.things.values()], `${when} ${nth}`).toEqual([{ id: "a", incarnation: 1, spec: { size: 2 } }]);
      expect(api.updateKeys.size, `${when} ${nth}`).toBe(1);
      expect(rows).toMatchObject([{ state: "PROVISIONED", spec: NEW_SPEC, generation: 2 }]);
    }
  });
});
