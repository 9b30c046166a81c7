import { memoryStore } from "evenkeel/memory";
import { seededRandom } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { LeaderElector } from "../../src/coordination/leader-elector.ts";
import type { LeaderElectorOptions } from "../../src/coordination/leader-settings.ts";
import { setUpElection } from "./set-up.ts";

const store = memoryStore();

function refusal(options: object): { code?: string; message?: string } {
  try {
    new LeaderElector({ store, name: "web", ...options } as LeaderElectorOptions);
    return {};
  } catch (error) {
    return error as Error;
  }
}

describe("the options of a LeaderElector", () => {
  it.each<[object, string]>([
    [{ leaseDurationMs: 10_000 }, "leaseDurationMs must be greater than renewDeadlineMs."],
    [{ renewDeadlineMs: 15_000 }, "leaseDurationMs must be greater than renewDeadlineMs."],
    [{ renewDeadlineMs: 2_400 }, "renewDeadlineMs must be greater than 1.2 times retryPeriodMs."],
    [{ retryPeriodMs: 8_334 }, "renewDeadlineMs must be greater than 1.2 times retryPeriodMs."],
    [{ leaseDurationMs: 0 }, "leaseDurationMs must be a positive whole number of milliseconds."],
    [{ renewDeadlineMs: -1 }, "renewDeadlineMs must be a positive whole number of milliseconds."],
    [{ retryPeriodMs: Number.NaN }, "retryPeriodMs must be a positive whole number of milliseconds."],
    [{ retryPeriodMs: "2s" }, "retryPeriodMs must be a positive whole number of milliseconds."],
    [{ name: "" }, "name must be a well-formed text of 1 to 255 characters without control characters."],
    [{ identity: "a\nb" }, "identity must be a well-formed text of 1 to 255 characters without control characters."],
    [{ store: { executions: {} } }, "store must be a LedgerStore with leases."],
    [{ store: undefined }, "store must be a LedgerStore with leases."],
    [{ onStartedLeading: "run" }, "onStartedLeading must be a function."],
    [{ onEvent: 1 }, "onEvent must be a function."],
    [{ renewDeadline: 1 }, "renewDeadline is not an option."],
  ])("refuse %o", (options, says) => {
    expect(refusal(options)).toMatchObject({ code: "INVALID_OPTIONS", message: `LeaderElector: ${says}` });
  });

  it.each([
    { renewDeadlineMs: 2_401 },
    { renewDeadlineMs: 14_999 },
    { retryPeriodMs: 8_333 },
    { leaseDurationMs: 30, renewDeadlineMs: 20, retryPeriodMs: 5, identity: "node-a" },
  ])("accept %o", (options) => {
    expect(refusal(options)).toEqual({});
  });

  it("make up an identity where none is given, another one each time", async () => {
    const { clock, ledger } = setUpElection();
    const seen: string[] = [];
    for (const seed of [1, 2]) {
      const onNewLeader = (leader: { identity: string }) => seen.push(leader.identity);
      const elector = new LeaderElector({ store: ledger, name: "web", clock, random: seededRandom(seed), onNewLeader });
      elector.start();
      await clock.advance(0);
      await elector.stop();
    }
    expect(seen[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(seen[1]).not.toBe(seen[0]);
  });
});
