import { ManualClock } from "evenkeel/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import { WorkQueue } from "../../src/reconcile/work-queue.ts";
import { HALF } from "./work-queue-set-up.ts";

/** So few that they meet. */
const KEYS = ["a", "b", "c", "d", "e"] as const;
type Key = (typeof KEYS)[number];

interface ModelKey {
  priority: number;
  readyAt: number;
  /** Which came first, of those that became ready in one millisecond. */
  turn: number;
}

/** The rules once more, with lists that are searched from end to end. */
class Model {
  now = 0;
  adds = 0;
  retried = 0;
  readonly dirty = new Map<Key, ModelKey>();
  readonly processing = new Set<Key>();
  readonly delayed = new Map<Key, number>();
  readonly failures = new Map<Key, number>();
  #turn = 0;

  add(key: Key, priority: number): void {
    this.delayed.delete(key);
    const known = this.dirty.get(key);
    if (known !== undefined) known.priority = Math.max(known.priority, priority);
    else {
      this.adds += 1;
      this.dirty.set(key, { priority, readyAt: this.now, turn: this.#nextTurn() });
    }
  }

  addAfter(key: Key, delayMs: number): void {
    this.retried += 1;
    if (delayMs <= 0) this.add(key, 0);
    else if (!this.dirty.has(key))
      this.delayed.set(key, Math.min(this.now + delayMs, this.delayed.get(key) ?? Number.POSITIVE_INFINITY));
  }

  addRateLimited(key: Key): void {
    const failures = this.failures.get(key) ?? 0;
    this.failures.set(key, failures + 1);
    this.addAfter(key, Math.min(300_000, 100 * 2 ** failures) / 2);
  }

  ready(): Key[] {
    const score = (key: Key): number => {
      const { priority, readyAt } = this.dirty.get(key) as ModelKey;
      return priority * 1_000 + (this.now - readyAt);
    };
    const turn = (key: Key): number => (this.dirty.get(key) as ModelKey).turn;
    return [...this.dirty.keys()]
      .filter((key) => !this.processing.has(key))
      .sort((a, b) => score(b) - score(a) || turn(a) - turn(b));
  }

  take(key: Key): void {
    this.dirty.delete(key);
    this.processing.add(key);
  }

  done(key: Key): void {
    const dirty = this.dirty.get(key);
    if (this.processing.delete(key) && dirty !== undefined)
      Object.assign(dirty, { readyAt: this.now, turn: this.#nextTurn() });
  }

  advance(ms: number): void {
    const target = this.now + ms;
    for (;;) {
      const [due] = [...this.delayed].filter(([, at]) => at <= target).sort(([, a], [, b]) => a - b);
      if (due === undefined) break;
      this.now = due[1];
      this.add(due[0], 0);
    }
    this.now = target;
  }

  #nextTurn(): number {
    this.#turn += 1;
    return this.#turn;
  }
}

const key = fc.constantFrom(...KEYS);
const step = fc.oneof(
  fc.record({ do: fc.constant("add" as const), key, priority: fc.integer({ min: -2, max: 3 }) }),
  fc.record({ do: fc.constant("addAfter" as const), key, ms: fc.integer({ min: -1, max: 3_000 }) }),
  fc.record({ do: fc.constant("addRateLimited" as const), key }),
  fc.record({ do: fc.constant("forget" as const), key }),
  fc.record({ do: fc.constant("get" as const) }),
  fc.record({ do: fc.constant("get" as const) }),
  fc.record({ do: fc.constant("done" as const), key }),
  fc.record({ do: fc.constant("advance" as const), ms: fc.constantFrom<number[]>(1, 50, 500, 1_000, 2_500) }),
  fc.record({ do: fc.constant("setWallClock" as const), at: fc.nat() }),
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

async function get(queue: WorkQueue<Key>, model: Model): Promise<void> {
  const [expected] = model.ready();
  if (expected === undefined) return;
  const taken = await queue.get();
  expect(model.processing).not.toContain(taken);
  expect(taken).toBe(expected);
  model.take(expected);
}

async function apply(queue: WorkQueue<Key>, model: Model, clock: ManualClock, action: Step) {
  switch (action.do) {
    case "add":
      queue.add(action.key, { priority: action.priority });
      return model.add(action.key, action.priority);
    case "addAfter":
      queue.addAfter(action.key, action.ms);
      return model.addAfter(action.key, action.ms);
    case "addRateLimited":
      queue.addRateLimited(action.key);
      return model.addRateLimited(action.key);
    case "forget":
      queue.forget(action.key);
      return void model.failures.delete(action.key);
    case "get":
      return get(queue, model);
    case "done":
      queue.done(action.key);
      return model.done(action.key);
    case "advance":
      await clock.advance(action.ms);
      return model.advance(action.ms);
    case "setWallClock":
      return clock.set(action.at);
  }
}

function metricOf(queue: WorkQueue<Key>, name: string): number | undefined {
  const sample = queue.metrics().find((metric) => metric.name === name);
  return sample?.kind === "histogram" ? sample.count : sample?.value;
}

function compare(queue: WorkQueue<Key>, model: Model, clock: ManualClock): void {
  expect(queue.size).toBe(model.ready().length);
  expect(metricOf(queue, "workqueue_depth")).toBe(model.dirty.size);
  expect(metricOf(queue, "workqueue_adds_total")).toBe(model.adds);
  expect(metricOf(queue, "workqueue_retries_total")).toBe(model.retried);
  for (const key of KEYS) expect(queue.retries(key)).toBe(model.failures.get(key) ?? 0);
  expect(clock.pendingTimers).toBe(model.delayed.size === 0 ? 0 : 1);
}

it("does what a naive model does, in any order of adds, delays, gets, dones and time", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      const clock = new ManualClock();
      const queue = new WorkQueue<Key>({ clock, random: HALF });
      const model = new Model();
      for (const action of steps) {
        await apply(queue, model, clock, action);
        compare(queue, model, clock);
      }
      // To the end: nothing may be missing there, nor be too much.
      while (model.dirty.size + model.delayed.size > 0) {
        await apply(queue, model, clock, { do: "advance", ms: 300_000 });
        for (const key of KEYS) await apply(queue, model, clock, { do: "done", key });
        while (model.ready().length > 0) await get(queue, model);
        compare(queue, model, clock);
      }
      for (const key of KEYS) queue.done(key);
      await queue.drain();
      expect(metricOf(queue, "workqueue_queue_duration_seconds")).toBe(model.adds);
      expect(metricOf(queue, "workqueue_work_duration_seconds")).toBe(model.adds);
      expect(await queue.get()).toBeUndefined();
      expect(clock.pendingTimers).toBe(0);
    }),
    { numRuns: 200 },
  );
});

it("runs each key after its last add, and never twice at a time, whoever works how long", async () => {
  const wake = fc.record({ key, afterMs: fc.integer({ min: 0, max: 200 }), delayMs: fc.integer({ min: 0, max: 100 }) });
  const workMs = fc.array(fc.integer({ min: 0, max: 80 }), { minLength: 1, maxLength: 10, size: "max" });
  await fc.assert(
    fc.asyncProperty(
      fc.array(wake, { maxLength: 40, size: "max" }),
      workMs,
      fc.integer({ min: 1, max: 4 }),
      async (wakes, workMs, workers) => {
        const clock = new ManualClock();
        const queue = new WorkQueue<Key>({ clock });
        const running = new Set<Key>();
        const lastStart = new Map<Key, number>();
        let runs = 0;
        const work = async (): Promise<void> => {
          for (let key = await queue.get(); key !== undefined; key = await queue.get()) {
            expect(running).not.toContain(key);
            running.add(key);
            lastStart.set(key, clock.monotonic());
            runs += 1;
            await clock.sleep(workMs[runs % workMs.length] ?? 0);
            running.delete(key);
            queue.done(key);
          }
        };
        const workersDone = Promise.all(Array.from({ length: workers }, work));
        const lastDue = new Map<Key, number>();
        const adding = Promise.all(
          wakes.map(async ({ key, afterMs, delayMs }) => {
            await clock.sleep(afterMs);
            lastDue.set(key, Math.max(clock.monotonic(), lastDue.get(key) ?? 0));
            queue.addAfter(key, delayMs);
          }),
        );
        await clock.advance(10_000);
        await adding;
        expect(runs).toBeLessThanOrEqual(wakes.length);
        expect([...lastStart.keys()].sort()).toEqual([...lastDue.keys()].sort());
        for (const [key, at] of lastDue) expect(lastStart.get(key)).toBeGreaterThanOrEqual(at);
        await queue.drain();
        await workersDone;
        expect(clock.pendingTimers).toBe(0);
      },
    ),
    { numRuns: 40 },
  );
});
