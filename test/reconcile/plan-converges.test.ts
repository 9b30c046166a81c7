import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Happening, Simulation, type SimulationTerms, type StepFault } from "./plan-simulation.ts";

const MOST_PASSES = 200;

const terms: fc.Arbitrary<SimulationTerms> = fc.record<SimulationTerms>({
  observe: fc.constantFrom("ledger", "incarnation", "externalId", "nameless"),
  lagMs: fc.constantFrom(0, 0, 5_000, 29_000),
  replacement: fc.constantFrom("replaceFirst", "fenceFirst"),
  canUpdate: fc.boolean(),
  canForce: fc.boolean(),
  massGuard: fc.constantFrom<SimulationTerms["massGuard"][]>(false, {
    minRows: 3,
    minStale: 2,
    fraction: 0.5,
    replacementIntervalMs: 10_000,
  }),
});

const stepFault = fc.constantFrom<StepFault[]>(
  "none",
  "none",
  "none",
  "throws",
  "throwsDone",
  "timesOut",
  "timesOutDone",
  "terminal",
  "lost",
  "crash",
  "crashDone",
  "ignored",
);

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(1, 100, 1_000, 10_000, 30_000, 30_001, 61_000, 700_000)
      .map((ms) => ({ type: "passes", ms }) as const),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("desire" as const), count: fc.nat(6), spec: fc.constantFrom("a", "b") }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom("silence" as const, "vanish" as const), index: fc.nat(6) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("answers" as const),
      observed: fc.constantFrom("complete" as const, "partial" as const, "unconfirmed" as const),
      desired: fc.constantFrom("complete" as const, "partial" as const),
    }),
  },
);

const round = fc.record({
  happenings: fc.array(happening, { maxLength: 3 }),
  faults: fc.array(stepFault, { maxLength: 8 }),
});
const story = fc.record({ terms, count: fc.nat(6), rounds: fc.array(round, { maxLength: 14 }) });
type Story = typeof story extends fc.Arbitrary<infer One> ? One : never;

/** Whatever goes wrong: once it doesn't any more, what runs is what is wanted, and then nothing is done. */
async function converges({ terms, count, rounds }: Story): Promise<void> {
  const simulation = new Simulation(terms);
  simulation.happen({ type: "desire", count, spec: "a" });
  for (const { happenings, faults } of rounds) {
    for (const one of happenings) simulation.happen(one);
    await simulation.pass(faults);
  }
  await simulation.settle(MOST_PASSES);
  expect(simulation.running()).toEqual(simulation.wanted());
  for (let resyncs = 0; resyncs < 10; resyncs += 1) {
    const { steps, held, isSettled } = await simulation.resync();
    expect({ steps, held, isSettled }).toEqual({ steps: [], held: [], isSettled: true });
  }
}

describe("a plan that is carried out", () => {
  it("makes of any fault sequence what is desired in the end, and is at rest then (I22, and I23 under fenceFirst)", async () => {
    await fc.assert(fc.asyncProperty(story, converges), { seed: 22, numRuns: Number(process.env["RUNS"] ?? 1_500) });
  });
});
