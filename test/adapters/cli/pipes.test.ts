import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { promisify } from "node:util";
import { openStore } from "evenkeel/open";
import { describe, expect, it } from "vitest";
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
  it("does not keep a command that is interrupted", async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    try {
      const argv = ["leases", "list", "--store", `redis://127.0.0.1:${port}`, "--timeout", "10m"];
      const { child, ended } = start(argv);
      await expect.poll(() => sockets.length).toBeGreaterThan(0);
      child.kill("SIGINT");
      expect(await ended).toMatchObject({ status: 130, stdout: "", stderr: "" });
      const terminated = start(argv);
      await expect.poll(() => sockets.length).toBeGreaterThan(1);
      terminated.child.kill("SIGTERM");
      expect(await terminated.ended).toMatchObject({ status: 143, stdout: "", stderr: "" });
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });
});
