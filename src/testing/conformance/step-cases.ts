import { strict as assert } from "node:assert";
import type { StepRecord } from "../../store.ts";
import { assertStatus } from "./assertions.ts";
import type { ConformanceCases } from "./bench.ts";

/** {@link ExecutionStore.recordStep}: steps belong to the record until it is completed, forgotten or expired. */
export const stepCases: ConformanceCases = {
  "gives the attempt after a takeover the steps that were recorded": async (bench) => {
    const { holder } = await bench.hold();
    assert.deepEqual(await bench.step(holder, 0, "reserve", bench.outcome("seat 12")), { status: "recorded" });
    await bench.step(holder, 1, "charge", bench.outcome("7.50", "error"));
    await bench.step(holder, 2, "mail", bench.outcome("", "tombstone"));
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    const steps = inOrder(claim.steps);
    assert.deepEqual(
      steps.map(({ position, name }) => [position, name]),
      [
        [0, "reserve"],
        [1, "charge"],
        [2, "mail"],
      ],
    );
    bench.assertOutcome(steps[0], bench.outcome("seat 12"), "claim, of a step,");
    bench.assertOutcome(steps[1], bench.outcome("7.50", "error"), "claim, of a step,");
    bench.assertOutcome(steps[2], bench.outcome("", "tombstone"), "claim, of a step,");
  },

  "keeps the steps over several takeovers, and adds to them": async (bench) => {
    const first = await bench.hold();
    await bench.step(first.holder, 0, "reserve");
    await bench.advance(bench.leaseMs);
    const second = await bench.hold();
    await bench.step(second.holder, 1, "charge");
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.deepEqual(
      inOrder(claim.steps).map(({ name }) => name),
      ["reserve", "charge"],
    );
  },

  "takes steps that finish in another order than they began": async (bench) => {
    const { holder } = await bench.hold();
    await Promise.all([2, 0, 1].map((position) => bench.step(holder, position, `step ${position}`)));
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.deepEqual(
      inOrder(claim.steps).map(({ position, name }) => [position, name]),
      [0, 1, 2].map((position) => [position, `step ${position}`]),
    );
  },

  "gives a repeated claim of the same nonce the steps too": async (bench) => {
    const request = bench.request();
    const { holder } = await bench.hold(request);
    await bench.step(holder, 0, "reserve");
    const { claim } = await bench.hold(request);
    assert.equal(claim.steps.length, 1);
  },

  "records a step once, with its first outcome, however often it arrives": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve", bench.outcome("first"));
    assert.deepEqual(await bench.step(holder, 0, "reserve", bench.outcome("second")), { status: "recorded" });
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.equal(claim.steps.length, 1);
    bench.assertOutcome(claim.steps[0], bench.outcome("first"), "claim, of a step,");
  },

  "keeps the steps of one record from another": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    const { claim } = await bench.hold({ id: bench.id("other") });
    assert.deepEqual([...claim.steps], []);
  },

  "copies the bytes in and out": async (bench) => {
    const outcome = bench.outcome("seat 12");
    const { holder } = await bench.hold();
    const recorded = bench.step(holder, 0, "reserve", outcome);
    outcome.bytes.fill(0);
    await recorded;
    await bench.advance(bench.leaseMs);
    const reported = await bench.claim({ onAbandoned: "report" });
    assertStatus(reported, "abandoned", "claim");
    reported.steps[0]?.outcome.bytes.fill(0);
    const { claim } = await bench.hold();
    bench.assertOutcome(claim.steps[0], bench.outcome("seat 12"), "claim, of a step,");
  },

  "takes any bytes and any name": async (bench) => {
    const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    const name = `'; DROP TABLE steps; --%_{}"\`\\__proto__ \u{1F680}`;
    const { holder } = await bench.hold();
    await bench.step(holder, 0, name, { kind: "value", bytes });
    await bench.advance(bench.leaseMs);
    const { claim } = await bench.hold();
    assert.equal(claim.steps[0]?.name, name);
    bench.assertOutcome(claim.steps[0], { kind: "value", bytes }, "claim, of a step,");
  },

  "forgets the steps when the record is completed": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.complete(holder);
    assert.deepEqual(await bench.step(holder, 1, "late"), { status: "finalized" });
    await bench.advance(bench.retentionMs);
    const { claim } = await bench.hold();
    assert.deepEqual([...claim.steps], []);
  },

  "forgets the steps when the record expires": async (bench) => {
    const { holder } = await bench.hold();
    await bench.step(holder, 0, "reserve");
    await bench.advance(bench.leaseMs + bench.retentionMs);
    const { claim } = await bench.hold();
    assert.deepEqual([...claim.steps], []);
  },

  "is missing for a record that is not there, and keeps nothing for its next holder": async (bench) => {
    const { holder } = await bench.hold();
    await bench.forget(holder);
    assert.deepEqual(await bench.step(holder, 0, "late"), { status: "missing" });
    const { claim } = await bench.hold();
    assert.deepEqual([...claim.steps], []);
  },
};

function inOrder(steps: readonly StepRecord[]): StepRecord[] {
  return [...steps].sort((a, b) => a.position - b.position);
}
