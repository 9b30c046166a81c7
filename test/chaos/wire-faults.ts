import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isEvenkeelError, withIdempotency } from "../../src/index.ts";
import { inTime } from "../support/in-time.ts";
import { type OpenLedger, openLedger } from "../support/open-ledger.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

/** Of a call that is to succeed, however busy the machine is. */
const PATIENT_MS = 20_000;
/** Of a call that may meet a connection of before, and is followed by another one then. */
const TRIAL_MS = 2_000;
/** Of a call that nobody serves. */
const UNSERVED_MS = 2_000;
/** Less than any time that a driver or a store takes for a connection by itself. */
const UNSERVED_AT_MOST_MS = 6_000;

/**
 * What happens on the wire between a process and an engine, done by a proxy that knows no protocol.
 *
 * @param newLedger - the URL of a ledger of its own, see `openLedger`.
 * @param options `completion` recognises the bytes of a completion among others.
 */
export function describeWireFaults(
  newLedger: () => Promise<string>,
  { completion }: { readonly completion: (request: Buffer) => boolean },
): void {
  let proxy: TcpProxy;
  /** Through the proxy. */
  let ledger: OpenLedger;
  /** Past the proxy: another process, to which nothing happens. */
  let healthy: OpenLedger;
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown): void => void unhandled.push(reason);

  beforeEach(async () => {
    process.on("unhandledRejection", onUnhandled);
    const url = await newLedger();
    proxy = await startTcpProxy({ port: Number(new URL(url).port) });
    healthy = await openLedger(url);
    ledger = await openLedger(proxy.url(url));
    // The set-up and the first connections are behind us when a fault begins.
    await transfer(healthy).call({}, { key: "warm-up" });
    await transfer(ledger).call({}, { key: "warm-up too" });
    proxy.resetCounts();
  });

  afterEach(async () => {
    await Promise.all([ledger.close(), healthy.close()]);
    await proxy.stop();
    process.off("unhandledRejection", onUnhandled);
    expect(unhandled.splice(0)).toEqual([]);
  });

  function transfer({ store }: OpenLedger, storeTimeoutMs = PATIENT_MS) {
    const seen = { runs: 0, events: [] as string[] };
    const call = withIdempotency(
      async (_: object, ctx) => {
        seen.runs += 1;
        return { token: ctx.fencingToken };
      },
      {
        store,
        operation: "transfer",
        inFlight: "wait",
        storeTimeoutMs,
        leaseMs: 30_000,
        onEvent: ({ type }) => seen.events.push(type),
      },
    );
    return { call, seen };
  }

  /** A call that the store can't serve: refused in time, and nothing ran. */
  async function expectUnavailable(): Promise<void> {
    const { call, seen } = transfer(ledger, UNSERVED_MS);
    const refused = call({}, { key: "unserved" }).catch((reason: unknown) => reason);
    const error: unknown = await inTime(UNSERVED_AT_MOST_MS, refused);
    expect(isEvenkeelError(error) && error.code).toBe("STORE_UNAVAILABLE");
    expect(seen.runs).toBe(0);
  }

  async function expectServed(): Promise<void> {
    // A driver may take a few tries to connect again; nobody restarts anything.
    for (let tries = 0; ; tries += 1) {
      const { call, seen } = transfer(ledger, TRIAL_MS);
      // A key each: what was given up may have been carried out.
      const outcome = await call.run({}, { key: `served ${tries}` }).catch((error: unknown) => error);
      if (!isEvenkeelError(outcome)) {
        expect(outcome).toMatchObject({ attempt: 1 });
        expect(seen.runs).toBe(1);
        return;
      }
      expect(tries, "the store works again").toBeLessThan(10);
    }
  }

  describe("a reply that is cut off", () => {
    it("of a claim leaves one run under one claim, and no IN_PROGRESS to oneself (I4, I12)", async () => {
      const cut = proxy.cutReply();
      const { call, seen } = transfer(ledger);
      const first = await call.run({}, { key: "k" });
      await cut;
      expect(first).toMatchObject({ replayed: false, attempt: 1 });
      expect(seen.runs).toBe(1);
      expect(await transfer(healthy).call.run({}, { key: "k" })).toMatchObject({ replayed: true, value: first.value });
    });

    it("of a completion leaves one outcome, which all callers get (I1, I5, I12)", async () => {
      const cut = proxy.cutReply({ matching: completion });
      const { call, seen } = transfer(ledger);
      const first = await call.run({}, { key: "k" });
      await cut;
      expect(first).toMatchObject({ replayed: false, attempt: 1 });
      expect(seen.events).not.toContain("complete_failed");
      expect(seen.runs).toBe(1);
      const replay = await transfer(healthy).call.run({}, { key: "k" });
      expect(replay).toMatchObject({ replayed: true, attempt: 1, value: first.value });
    });
  });

  it("is bridged where every connection is reset in the middle of 50 calls (I1, I12)", async () => {
    const { call, seen } = transfer(ledger);
    const calls = Array.from({ length: 50 }, (_, n) => call.run({}, { key: `k${n}` }));
    while (proxy.counts.roundTrips === 0) await new Promise((resolve) => setImmediate(resolve));
    proxy.resetConnections();
    const results = await Promise.all(calls);
    expect(seen.runs).toBe(50);
    expect(results.every(({ attempt, replayed }) => attempt === 1 && !replayed)).toBe(true);
  });

  it("is only slow where each way takes 100 ms (I1)", async () => {
    proxy.delay({ toServer: 100, toClient: 100 });
    const { call, seen } = transfer(ledger);
    const results = await Promise.all(Array.from({ length: 10 }, () => call.run({}, { key: "k" })));
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(seen.runs).toBe(1);
  });

  describe.each([
    ["swallows all requests", "toServer"],
    ["swallows all replies", "toClient"],
  ] as const)("a network that %s", (_, direction) => {
    it("is STORE_UNAVAILABLE within storeTimeoutMs, runs nothing, and is forgotten when it heals (I12, I14, I19)", async () => {
      proxy.blackHole(direction);
      await expectUnavailable();
      await proxy.heal();
      await expectServed();
    });

    it("costs a holder its lease, and its late outcome gives way to the winner's (I1, I2, I8)", async () => {
      let begin = (): void => {};
      const begun = new Promise<void>((resolve) => {
        begin = resolve;
      });
      let go = (): void => {};
      const mayGo = new Promise<void>((resolve) => {
        go = resolve;
      });
      let wasAborted = false;
      const cutOff = withIdempotency(
        async (_: object, ctx) => {
          begin();
          await mayGo;
          wasAborted = ctx.signal.aborted;
          return { token: ctx.fencingToken };
        },
        {
          store: ledger.store,
          operation: "transfer",
          inFlight: "wait",
          storeTimeoutMs: PATIENT_MS,
          leaseMs: 1_500,
        },
      );
      const stale = cutOff.run({}, { key: "k" });
      await begun;
      proxy.blackHole(direction);
      const winner = await transfer(healthy).call.run({}, { key: "k" });
      expect(winner).toMatchObject({ replayed: false, attempt: 2 });
      await proxy.heal();
      go();
      expect(await stale).toMatchObject({ replayed: true, attempt: 2, value: winner.value });
      expect(wasAborted).toBe(true);
    });
  });

  it("is STORE_UNAVAILABLE where nobody listens, and works again when somebody does (I14, I19)", async () => {
    await proxy.refuseConnections();
    proxy.resetConnections();
    await expectUnavailable();
    await proxy.heal();
    await expectServed();
  });
}
