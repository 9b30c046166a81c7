import { withIdempotency } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { taggedJson } from "../../../src/codec.ts";
import { outcomeCodec } from "../../../src/idempotency/outcome.ts";
import type { ExecutionView } from "../../../src/store.ts";

const CALL = { timeoutMs: 1_000 };
const TIMES = { leaseMs: 30_000, retentionMs: 60_000 };

/** A function that is at work, somebody who waits for it, and an operator. */
async function stuck() {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const { executions } = store;
  let runs = 0;
  let stopped: Promise<unknown> | undefined;
  const work = withIdempotency<string, string>(
    (input, ctx) => {
      runs += 1;
      if (input !== "stuck") return input;
      stopped = new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
      return stopped.then(() => "its own");
    },
    { store, operation: "work", clock, inFlight: "wait", maxWaitMs: 600_000, fingerprint: false },
  );
  const running = work("stuck", { key: "k" });
  const waiting = work("quick", { key: "k" });
  await clock.advance(1);
  const [seen] = await executions.list({ status: "running", limit: 1 }, CALL);
  const { id, token } = seen as ExecutionView;
  const seize = async () => {
    const seized = await executions.seize({ id, token, nonce: "operator", ...TIMES }, CALL);
    if (seized.status !== "seized") throw new Error(seized.status);
    return { id, nonce: "operator", token: seized.token };
  };
  const { outcome } = outcomeCodec(taggedJson, 1_024).encodeValue(id, "by hand");
  return { clock, executions, running, waiting, seize, outcome, runs: () => runs };
}

describe("a stuck execution that an operator seizes", () => {
  it("is told so at its next renewal, and has the operator's outcome, as everybody who waits", async () => {
    const { clock, executions, running, waiting, seize, outcome, runs } = await stuck();
    const holder = await seize();
    await executions.complete({ ...holder, outcome, retentionMs: TIMES.retentionMs }, CALL);
    await clock.advance(TIMES.leaseMs);
    expect(await Promise.all([running, waiting])).toEqual(["by hand", "by hand"]);
    expect(runs()).toBe(1);
  });

  it("keeps who waits waiting as long as it is held, and goes to them once it is released", async () => {
    const { clock, executions, running, waiting, seize, runs } = await stuck();
    let isOver = false;
    waiting.finally(() => {
      isOver = true;
    });
    const holder = await seize();
    await clock.advance(TIMES.leaseMs - 1);
    expect({ isOver, runs: runs() }).toEqual({ isOver: false, runs: 1 });
    await executions.release({ ...holder, as: { mode: "retry", attempt: 1, retentionMs: 60_000 } }, CALL);
    await clock.advance(1_000);
    expect(await waiting).toBe("quick");
    expect(await running).toBe("quick");
    expect(runs()).toBe(2);
  });
});
