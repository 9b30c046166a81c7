import { once } from "node:events";
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NotFound } from "evenkeel";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMachine, type Machine, type MachineOptions } from "../../examples/control-plane/machine.ts";
import { takeFolder } from "../../examples/control-plane/workers-folder.ts";
import { signalIfAlive } from "../support/child-processes.ts";
import { newFolder } from "../support/run-folder.ts";
import { until } from "../support/until.ts";

const ctx = (idempotencyKey: string) => ({
  idempotencyKey,
  fencingToken: 1,
  attempt: 1,
  signal: AbortSignal.timeout(60_000),
});

describe("the machine of examples/control-plane", () => {
  let folder: string;
  let machine: Machine;

  /** Another copy's view of the same machine. */
  const view = (options: Partial<MachineOptions> = {}): Machine =>
    createMachine({
      folder,
      group: "worker",
      ledger: "ledger",
      // Nobody answers, and no worker ends of it.
      servers: async () => ["http://127.0.0.1:1"],
      beatMs: 1_000,
      orphanMs: 600_000,
      onEnded: () => {},
      ...options,
    });

  const events = () =>
    readFileSync(join(folder, "log.jsonl"), "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line).event as string);

  const fileOf = (name: string): string => join(folder, "worker", name);

  beforeEach(async () => {
    folder = await newFolder("control-plane-machine");
    takeFolder(folder, { ledger: "ledger", groups: ["worker"] });
    machine = view();
  });
  afterEach(async () => {
    for (const { externalId } of machine.observe()) signalIfAlive(Number(externalId), "SIGKILL");
    await until("none is left", () => [...machine.observe()].length === 0);
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  it("starts one process for a key, whoever asks, however often, and at whatever moment", async () => {
    const worker = { id: "worker-1", incarnation: 1 };
    const together = await Promise.all([1, 2, 3].map(() => view().start(worker, ctx("key"))));
    const again = await view().start(worker, ctx("key"));
    expect(new Set([...together, again]).size).toBe(1);
    expect(machine.observe()).toEqual([{ ...worker, externalId: String(again) }]);
    await until("the others have ended", () => events().length === 3);
    expect(events().sort()).toEqual(["refused", "refused", "started"]);
  });

  it("answers what a key has made also when that has ended, and makes nothing", async () => {
    const worker = { id: "worker-1", incarnation: 1 };
    const pid = await machine.start(worker, ctx("key"));
    process.kill(pid, "SIGKILL");
    await until("it has ended", () => [...machine.observe()].length === 0);
    expect([await machine.start(worker, ctx("key")), await view().start(worker, ctx("key"))]).toEqual([pid, pid]);
    expect([[...view().observe()], events()]).toEqual([[], ["started"]]);
  });

  it("starts nothing any more that was to end before it began", async () => {
    const worker = { id: "worker-1", incarnation: 1 };
    expect(() => machine.signal(worker, "SIGTERM", ctx("end"))).toThrow(NotFound);
    await expect(view().start(worker, ctx("key"))).rejects.toThrow(/another key/);
    // Nor what was under way already, and comes now.
    rmSync(fileOf("worker-1#1"));
    const late = view().start(worker, ctx("key"));
    linkSync(decoy(), fileOf("worker-1#1"));
    await expect(late).rejects.toThrow(/another key/);
    await until("it has ended", () => events().length === 1);
    expect([events(), machine.observe()]).toEqual([["refused"], []]);
  });

  it("takes no other process for a worker, and leaves it alone", async () => {
    writeFileSync(fileOf("worker-1#1"), JSON.stringify({ pid: process.pid, key: "key" }));
    expect(machine.observe()).toEqual([]);
    expect(() => machine.signal({ id: "worker-1", incarnation: 1 }, "SIGKILL", ctx("end"))).toThrow(NotFound);

    // Neither a worker of the same name and another incarnation.
    const pid = await machine.start({ id: "worker-2", incarnation: 2 }, ctx("other"));
    writeFileSync(fileOf("worker-2#1"), JSON.stringify({ pid, key: "other" }));
    expect(view().observe()).toEqual([{ id: "worker-2", incarnation: 2, externalId: String(pid) }]);
    expect(() => view().signal({ id: "worker-2", incarnation: 1 }, "SIGKILL", ctx("end"))).toThrow(NotFound);
    expect(machine.observe()).toHaveLength(1);
  });

  it("answers no start with what another key has made", async () => {
    const worker = { id: "worker-1", incarnation: 1 };
    const pid = await machine.start(worker, ctx("key"));
    await expect(view().start(worker, ctx("other"))).rejects.toThrow(/another key/);
    expect([machine.observe(), events()]).toEqual([[{ ...worker, externalId: String(pid) }], ["started"]]);
  });

  it("has workers that stand still for long, and do not end for the first beat that nobody answers then", async ({
    onTestFinished,
  }) => {
    let [beats, lost, isAway] = [0, 0, false];
    const server = createServer((request, response) => {
      request.resume();
      if (!isAway) {
        beats += 1;
        return void response.end(JSON.stringify({ accepted: true, servers: [] }));
      }
      isAway = false;
      lost += 1;
      return void request.destroy();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pid = await view({ servers: async () => [url], beatMs: 50, orphanMs: 3_000 }).start(
      { id: "worker-1", incarnation: 1 },
      ctx("key"),
    );
    await until("it beats", () => beats > 0);
    process.kill(pid, "SIGSTOP");
    isAway = true;
    await sleep(3_500);
    const before = beats;
    process.kill(pid, "SIGCONT");
    await until("a beat was lost", () => lost === 1);
    await until("it beats again, or has ended", () => beats > before || events().includes("ended"));
    expect(events()).toEqual(["started"]);
  });

  function decoy(): string {
    const file = join(folder, "decoy");
    writeFileSync(file, JSON.stringify({ pid: 0, key: "end" }));
    return file;
  }
});
