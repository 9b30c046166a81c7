import { describe, expect, it } from "vitest";
import { useTemporaryFolder } from "../support/sqlite-files.ts";
import { callFromManyProcesses, KILLING } from "./many-callers.ts";

const { folder } = useTemporaryFolder();
const url = (): string => `sqlite:${folder.file("ledger.db")}`;

describe("200 callers of each key in 4 processes on one SQLite file", () => {
  it("get one run a key, 500 keys (I1, I2, I9, I14)", { timeout: 300_000 }, async () => {
    const keys = await callFromManyProcesses({ url: url(), keys: 500 });
    for (const { runs, firstHand, settled } of keys.values()) {
      expect({ runs: runs.length, firstHand, settled }).toEqual({ runs: 1, firstHand: 1, settled: 200 });
    }
  });

  it("get one run a key while 1 % of the answers are lost (I4, I12)", { timeout: 300_000 }, async () => {
    const keys = await callFromManyProcesses({ url: url(), keys: 200, lostReplies: 0.01 });
    for (const { runs, settled } of keys.values())
      expect({ runs: runs.length, settled }).toEqual({ runs: 1, settled: 200 });
  });

  it("agree on each outcome while a process is killed every second (I1, I2, I13, I14)", {
    timeout: 300_000,
  }, async () => {
    await callFromManyProcesses({ url: url(), keys: 200, ...KILLING });
  });
});
