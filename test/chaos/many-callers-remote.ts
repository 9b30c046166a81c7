import { expect, it } from "vitest";
import { seededRandom } from "../../src/testing/index.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { callFromManyProcesses, KILLING } from "./many-callers.ts";

/**
 * 200 callers of each key in 4 processes on an engine behind a wire: of 500 keys, and of 200 where something goes wrong meanwhile.
 *
 * @param newLedger - the URL of a ledger of its own, see `openLedger`.
 */
export function describeManyCallers(newLedger: () => Promise<string>): void {
  it("get one run a key, 500 keys (I1, I2, I9, I14)", { timeout: 300_000 }, async () => {
    const keys = await callFromManyProcesses({ url: await newLedger(), keys: 500 });
    for (const { runs, firstHand, settled } of keys.values()) {
      expect({ runs: runs.length, firstHand, settled }).toEqual({ runs: 1, firstHand: 1, settled: 200 });
    }
  });

  it("get one run a key while 1 % of the replies are cut off (I4, I12)", { timeout: 300_000 }, async () => {
    const direct = await newLedger();
    const proxy = await startTcpProxy({ port: Number(new URL(direct).port) });
    try {
      const random = seededRandom(1);
      proxy.cutReplies({ share: 0.01, random: () => random.float() });
      const keys = await callFromManyProcesses({ url: proxy.url(direct), checkAt: direct, keys: 200 });
      for (const { runs, settled } of keys.values()) {
        expect({ runs: runs.length, settled }).toEqual({ runs: 1, settled: 200 });
      }
      expect(proxy.counts.cuts, "nothing was cut").toBeGreaterThan(0);
    } finally {
      await proxy.stop();
    }
  });

  it("agree on each outcome while a process is killed every second (I1, I2, I13, I14)", {
    timeout: 300_000,
  }, async () => {
    await callFromManyProcesses({ url: await newLedger(), keys: 200, ...KILLING });
  });
}
