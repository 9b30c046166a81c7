import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { promisify } from "node:util";
import { openStore } from "evenkeel/open";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.ts";
import { BUILT, start } from "./cli-kit.ts";
import { claim, fileOf, idOf, newSqliteUrl } from "./ledger-kit.ts";

describe("a reader that has enough", () => {
  it("ends the command quietly, with 0", async () => {
    const url = await newSqliteUrl();
    const store = await openStore(url);
    // More than a pipe holds.
    const ids = Array.from({ length: 1_500 }, (_, at) => idOf(String(10_000 + at)));
    await Promise.all(ids.map((id) => claim(store, { id })));
    await store.close();
    const status = `${fileOf(url)}.status`;
    const line = '{ "$0" "$1" executions list --limit 2000 --store "$2" $4; echo $? >"$3"; } | head -n 1';
    for (const [option, first] of [
      ["", /^ID +OPERATION .*\n$/],
      ["--json", /^\{\n$/],
    ] as const) {
      const args = ["-c", line, process.execPath, BUILT, url, status, option];
      const { stdout, stderr } = await promisify(execFile)("sh", args);
      expect(stderr).toBe("");
      expect(stdout).toMatch(first);
      expect(readFileSync(status, "utf8")).toBe("0\n");
    }
  });
});

describe("output that can't be written", () => {
  it.runIf(existsSync("/dev/full"))("is a failure in one line", async () => {
    const args = ["-c", '"$0" "$1" --help >/dev/full; echo $?', process.execPath, BUILT];
    const { stdout, stderr } = await promisify(execFile)("sh", args);
    expect(stdout).toBe("2\n");
    expect(stderr).toBe("evenkeel: the output can't be written: ENOSPC\n");
  });
});

describe("an engine that does not answer", () => {
  const sockets: Socket[] = [];
  let server: Server;
  let address: string;

  beforeAll(async () => {
    server = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await once(server, "listening");
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it.each([
    ["leases list", "redis", "SIGINT", 130],
    ["leases list", "redis", "SIGTERM", 143],
    ["doctor", "redis", "SIGINT", 130],
    ["migrate", "redis", "SIGINT", 130],
    ["doctor", "postgres", "SIGINT", 130],
    ["migrate", "postgres", "SIGINT", 130],
  ] as const)("does not keep %s on %s that is interrupted by %s", async (command, engine, signal, status) => {
    const before = sockets.length;
    const { child, ended } = start([...command.split(" "), "--store", `${engine}://${address}/0`, "--timeout", "10m"]);
    await expect.poll(() => sockets.length, { timeout: 90_000 }).toBeGreaterThan(before);
    child.kill(signal);
    expect(await ended).toMatchObject({ status, stdout: "", stderr: "" });
  });

  it("is given up in the time that was said, and what still connects keeps no process", async () => {
    const before = sockets.length;
    const { ended } = start(["leases", "list", "--store", `postgres://${address}/x`, "--timeout", "2s"]);
    await expect.poll(() => sockets.length, { timeout: 90_000 }).toBeGreaterThan(before);
    const began = systemClock.monotonic();
    // The driver itself gives its connection up ten seconds after it has begun it.
    expect(await ended).toMatchObject({ status: 2, stdout: "", stderr: expect.stringMatching(/^evenkeel: .+\n$/) });
    expect(systemClock.monotonic() - began).toBeLessThan(9_500);
  });
});
