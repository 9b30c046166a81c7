import { describe, expect, it } from "vitest";
import { memoryStore } from "../../adapters/stores/memory.ts";
import { EvenkeelError } from "../../src/errors.ts";
import { type ForcedSettlement, settleByForce } from "../../src/idempotency/settle-by-force.ts";
import { systemRandom } from "../../src/random.ts";
import type { ExecutionStore } from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };
const ID = "a".repeat(64);
const OUTCOME = { kind: "value", bytes: new Uint8Array([1]) } as const;

/** A running record, and settling it by force over a store of which a part was changed. */
async function setUp(change: (inner: ExecutionStore) => Partial<ExecutionStore> = () => ({})) {
  const { executions: inner } = memoryStore();
  const request = { id: ID, operation: "pay", scope: "", nonce: "first", leaseMs: 60_000, retentionMs: 60_000 };
  const claimed = await inner.claim({ ...request, onAbandoned: "takeover" }, CALL);
  if (claimed.status !== "acquired") throw new Error(`it is ${claimed.status}`);
  const { token } = claimed;
  const executions = { ...inner, ...change(inner) };
  return {
    inner,
    token,
    holder: { id: ID, token, nonce: "first" },
    settle: (settlement: ForcedSettlement) =>
      settleByForce({ id: ID, token, retentionMs: 60_000 }, settlement, {
        random: systemRandom,
        ask: (send) => send(executions, CALL),
      }),
  };
}

describe("settling by force", () => {
  it.each<[ForcedSettlement, object | undefined]>([
    [{ as: "released" }, { status: "abandoned", retryGranted: true, attempt: 1 }],
    [{ as: "forgotten" }, undefined],
    [{ as: "completed", outcome: OUTCOME }, { status: "completed" }],
  ])("makes the holder stale, and the record what was asked: %j", async (settlement, then) => {
    const { inner, token, holder, settle } = await setUp();
    const settled = await settle(settlement);
    expect(settled).toMatchObject({ status: "settled", attempt: 1 });
    expect((settled as { token: number }).token).toBeGreaterThan(token);
    const view = await inner.get(ID, CALL);
    if (then === undefined) expect(view).toBeUndefined();
    else expect(view).toMatchObject(then);
    const late = await inner.complete({ ...holder, outcome: OUTCOME, retentionMs: 60_000 }, CALL);
    expect(late.status).not.toBe("committed");
  });

  it("changes nothing where the record is another, completed or gone", async () => {
    const taken = await setUp();
    await taken.inner.seize({ ...taken.holder, nonce: "other", leaseMs: 60_000, retentionMs: 60_000 }, CALL);
    expect(await taken.settle({ as: "released" })).toEqual({ status: "changed" });
    const done = await setUp();
    await done.inner.complete({ ...done.holder, outcome: OUTCOME, retentionMs: 60_000 }, CALL);
    expect(await done.settle({ as: "forgotten" })).toEqual({ status: "completed" });
    const gone = await setUp();
    await gone.inner.release({ ...gone.holder, as: { mode: "forget" } }, CALL);
    expect(await gone.settle({ as: "released" })).toEqual({ status: "missing" });
  });

  it("tells that the token was raised where somebody else was quicker then", async () => {
    const { inner, token, settle } = await setUp((store) => ({
      async release(request, call) {
        const seized = { ...request, nonce: "quicker", leaseMs: 60_000, retentionMs: 60_000 };
        await store.seize(seized, call);
        return store.release(request, call);
      },
    }));
    const lost = await settle({ as: "released" });
    expect(lost).toMatchObject({ status: "lost", token: expect.any(Number) });
    expect((await inner.get(ID, CALL))?.token).toBeGreaterThan(token + 1);
  });

  it("takes for forgotten what is gone when it is asked again", async () => {
    const { settle } = await setUp((store) => ({
      async release(request, call) {
        await store.release(request, call);
        return store.release(request, call);
      },
    }));
    expect(await settle({ as: "forgotten" })).toMatchObject({ status: "settled" });
  });

  it("says that what became of it is not known where the store failed after it was taken", async () => {
    const { inner, settle } = await setUp(() => ({
      release: () => Promise.reject(new EvenkeelError("STORE_UNAVAILABLE", "it went away")),
    }));
    const failed = await settle({ as: "released" }).catch((error: unknown) => error);
    const { token = 0 } = (await inner.get(ID, CALL)) ?? {};
    expect(failed).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `its token was raised to ${token}, but whether it was released is not known: look at it again`,
      cause: { message: "it went away" },
    });
  });
});
