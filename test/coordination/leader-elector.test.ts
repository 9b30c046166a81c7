import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { aborted, deferred, setUpElection, toldOf } from "./set-up.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

describe("a lone candidate", () => {
  it("leads at once, stays it for hours, and is told all in order", async () => {
    const { clock, ledger, candidate } = setUpElection();
    const { elector, log, events, calls } = candidate();
    expect(elector.isLeader()).toBe(false);
    elector.start();
    await clock.advance(0);
    expect(elector.isLeader()).toBe(true);
    expect(elector.epoch).toBe(1);
    const { signal } = elector;
    expect(signal.aborted).toBe(false);
    elector.assertLeader();
    await clock.advance(7_200_000);
    expect(elector.epoch).toBe(1);
    expect(elector.signal).toBe(signal);
    expect(calls.count("leases.renew")).toBe(3_600);
    await elector.stop();
    expect(signal.aborted).toBe(true);
    expect(await ledger.leases.get("web", { timeoutMs: 1_000 })).toBeUndefined();
    expect(log).toEqual(["leader node-1/1", "start 1", "stop 1"]);
    expect(toldOf(events)).toEqual(["leader_started 1", "leader_observed node-1/1", "leader_stopped 1 stopped"]);
    expect(events[0]).toEqual({ type: "leader_started", at: expect.any(Number), election: "web", epoch: 1 });
  });

  it("has no epoch, an aborted signal, and NOT_LEADER to throw while it does not lead", async () => {
    const { clock, candidate } = setUpElection();
    const { elector } = candidate();
    const assertIsNone = (): void => {
      expect(elector.isLeader()).toBe(false);
      expect(elector.epoch).toBeUndefined();
      expect(elector.signal.aborted).toBe(true);
      expect(() => elector.assertLeader()).toThrow(expect.objectContaining({ code: "NOT_LEADER", retryable: true }));
    };
    assertIsNone();
    elector.start();
    await clock.advance(0);
    await elector.stop();
    assertIsNone();
  });

  it("doesn't mind being started or stopped twice, and starts again after a stop, even before that is over", async () => {
    const { clock, candidate } = setUpElection();
    const { elector, log, calls } = candidate();
    await elector.stop();
    elector.start();
    elector.start();
    await clock.advance(1_000);
    expect(calls.count("leases.acquire")).toBe(1);
    const stopped = elector.stop();
    elector.start();
    await stopped;
    await clock.advance(1_000);
    expect(elector.epoch).toBe(2);
    await Promise.all([elector.stop(), elector.stop()]);
    await elector.stop();
    expect(log.filter((entry) => !entry.startsWith("leader"))).toEqual(["start 1", "stop 1", "start 2", "stop 2"]);
  });

  it("keeps no process alive after its stop", async () => {
    const script = `
      import { LeaderElector } from "./src/coordination/leader-elector.ts";
      import { memoryStore } from "./adapters/stores/memory.ts";
      const store = memoryStore();
      const electors = [1, 2].map(() => new LeaderElector({ store, name: "web" }));
      for (const elector of electors) elector.start();
      await new Promise((resolve) => setTimeout(resolve, 50));
      const leading = electors.filter((elector) => elector.isLeader()).length;
      await Promise.all(electors.map((elector) => elector.stop()));
      console.log(leading, "led");`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "-e", script],
      {
        cwd: ROOT,
        timeout: 60_000,
      },
    );
    expect(stdout).toBe("1 led\n");
  });
});

describe("stop()", () => {
  it("waits for the work under a lease that is renewed, then lets the next one lead at once", async () => {
    const { clock, candidate } = setUpElection();
    const work = deferred();
    const first = candidate({ onStartedLeading: () => work.promise });
    const second = candidate({ retryPeriodMs: 1_000 });
    first.elector.start();
    await clock.advance(0);
    second.elector.start();
    await clock.advance(0);
    const { signal } = first.elector;
    let isStopped = false;
    const stopped = first.elector.stop().then(() => {
      isStopped = true;
    });
    await clock.advance(120_000);
    expect(signal.aborted).toBe(true);
    // What is under way may still have to write.
    expect(first.elector.epoch).toBe(1);
    expect([isStopped, second.elector.isLeader()]).toEqual([false, false]);
    expect(first.log).toEqual(["leader node-1/1", "start 1"]);
    work.resolve();
    await clock.advance(0);
    expect([isStopped, first.elector.isLeader()]).toEqual([true, false]);
    await stopped;
    expect(first.log).toEqual(["leader node-1/1", "start 1", "stop 1"]);
    await clock.advance(1_200);
    expect(second.elector.epoch).toBe(2);
    await second.elector.stop();
  });

  it("calls onStoppedLeading once the lease is free", async () => {
    const { clock, ledger, candidate } = setUpElection();
    const held: unknown[] = [];
    const { elector, calls } = candidate({
      onStoppedLeading: () => {
        held.push(calls.operations.at(-1), elector.isLeader());
        void ledger.leases.get("web", { timeoutMs: 1_000 }).then((view) => held.push(view));
      },
    });
    elector.start();
    await clock.advance(0);
    await elector.stop();
    await clock.advance(0);
    expect(held).toEqual(["leases.release", false, undefined]);
  });

  it("comes to an end where the store can't be reached, and lets the lease lapse", async () => {
    const { clock, candidate } = setUpElection();
    const first = candidate();
    const second = candidate();
    first.elector.start();
    await clock.advance(0);
    second.elector.start();
    first.network.cut("both");
    const stopped = first.elector.stop();
    await clock.advance(2_000);
    await stopped;
    expect(toldOf(first.events).slice(2)).toEqual(["leader_stopped 1 stopped", "leader_error store"]);
    expect(first.log.at(-1)).toBe("stop 1");
    await clock.advance(12_000);
    expect(second.elector.isLeader()).toBe(false);
    await clock.advance(2_000);
    expect(second.elector.epoch).toBe(2);
    await second.elector.stop();
  });

  it("gives back a lease whose grant arrives after it", async () => {
    const { clock, ledger, candidate } = setUpElection();
    const late = { on: "leases.acquire", fault: { delayMs: 1_000, of: "reply" } } as const;
    const { elector, log } = candidate({}, { faults: [late] });
    elector.start();
    await clock.advance(500);
    const stopped = elector.stop();
    await clock.advance(500);
    await stopped;
    expect(log).toEqual([]);
    expect(await ledger.leases.get("web", { timeoutMs: 1_000 })).toBeUndefined();
  });

  it("may be asked for by any callback", async () => {
    const { clock, candidate } = setUpElection();
    for (const callback of ["onNewLeader", "onStartedLeading", "onStoppedLeading", "onEvent"] as const) {
      const one = candidate({ [callback]: () => void one.elector.stop() });
      one.elector.start();
      await clock.advance(0);
      if (callback === "onStoppedLeading") await one.elector.stop();
      expect(
        one.log.map((entry) => entry.split(" ")[0]),
        callback,
      ).toEqual(["leader", "start", "stop"]);
    }
  });
});

describe("the work of a leader", () => {
  it("may end of itself, which ends nothing", async () => {
    const { clock, candidate } = setUpElection();
    const { elector, log } = candidate({ onStartedLeading: async () => {} });
    elector.start();
    await clock.advance(60_000);
    expect(elector.epoch).toBe(1);
    expect(log.at(-1)).toBe("start 1");
    await elector.stop();
  });

  it.each<[string, () => Promise<void>]>([
    [
      "throws",
      () => {
        throw new Error("no disk");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no disk"))],
  ])("gives the lead up when it %s, and competes again after a period", async (_, fail) => {
    const { clock, candidate } = setUpElection();
    let runs = 0;
    const { elector, log, events } = candidate({
      onStartedLeading: () => {
        runs += 1;
        return runs === 1 ? fail() : undefined;
      },
    });
    elector.start();
    await clock.advance(0);
    expect(elector.isLeader()).toBe(false);
    expect(toldOf(events).slice(1)).toEqual([
      "leader_observed node-1/1",
      "leader_error onStartedLeading",
      "leader_stopped 1 failed",
    ]);
    expect(events[2]).toMatchObject({ error: new Error("no disk") });
    await clock.advance(1_999);
    expect(runs).toBe(1);
    await clock.advance(401);
    expect(elector.epoch).toBe(2);
    await elector.stop();
    expect(log.filter((entry) => !entry.startsWith("leader"))).toEqual(["start 1", "stop 1", "start 2", "stop 2"]);
  });

  it("has not failed when it rejects because it had to end", async () => {
    const { clock, candidate } = setUpElection();
    const rejections = [
      (signal: AbortSignal) => signal.throwIfAborted(),
      () => {
        throw new DOMException("ended", "AbortError");
      },
    ];
    for (const reject of rejections) {
      const { elector, events } = candidate({
        onStartedLeading: ({ signal }) => aborted(signal).then(() => reject(signal)),
      });
      elector.start();
      await clock.advance(0);
      await elector.stop();
      expect(toldOf(events).at(-1)).toMatch(/leader_stopped . stopped/);
      expect(toldOf(events).join()).not.toContain("error");
    }
  });

  it("that fails while it ends is reported", async () => {
    const { clock, candidate } = setUpElection();
    const { elector, events } = candidate({
      onStartedLeading: async ({ signal }) => {
        await aborted(signal);
        throw new Error("could not flush");
      },
    });
    elector.start();
    await clock.advance(0);
    await elector.stop();
    expect(toldOf(events)).toContain("leader_error onStartedLeading");
    expect(toldOf(events).at(-1)).toBe("leader_stopped 1 failed");
  });

  it("goes on when the other callbacks throw or reject", async () => {
    const { clock, candidate } = setUpElection();
    const { elector, events } = candidate({
      onNewLeader: () => {
        throw new Error("no");
      },
      onStoppedLeading: async () => {
        throw new Error("no");
      },
    });
    elector.start();
    await clock.advance(10_000);
    expect(elector.epoch).toBe(1);
    await elector.stop();
    await clock.advance(0);
    expect(toldOf(events).filter((told) => told.includes("error"))).toEqual([
      "leader_error onNewLeader",
      "leader_error onStoppedLeading",
    ]);
  });

  it("of the next term begins only when that of the one before has settled", async () => {
    const { clock, candidate } = setUpElection();
    const work = deferred();
    const first = candidate({ onStartedLeading: ({ epoch }) => (epoch === 1 ? work.promise : undefined) });
    first.elector.start();
    await clock.advance(0);
    first.network.cut("both");
    await clock.advance(10_000);
    first.network.heal();
    await clock.advance(60_000);
    expect(first.elector.isLeader()).toBe(false);
    expect(first.log).toEqual(["leader node-1/1", "start 1"]);
    work.resolve();
    await clock.advance(3_000);
    expect(first.log.slice(2)).toEqual(["stop 1", "leader node-1/2", "start 2"]);
    await first.elector.stop();
  });
});
