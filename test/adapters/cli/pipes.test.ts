import { execFile } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { promisify } from "node:util";
import { openStore } from "evenkeel/open";
import { describe, expect, it } from "vitest";
import { BUILT, start } from "./cli-kit.ts";
import { claim, idOf, newSqliteUrl } from "./ledger-kit.ts";

const sh = (line: string, ...args: string[]) => promisify(execFile)("bash", ["-c", line, "bash", ...args]);

describe("a reader that has enough", () => {
  it("ends the command quietly, with 0", async () => {
    const url = await newSqliteUrl();
    const store = await openStore(url);
    // More than a pipe holds.
    const ids = Array.from({ length: 1_500 }, (_, at) => idOf(String(10_000 + at)));
    await Promise.all(ids.map((id) => claim(store, { id })));
    await store.close();
    const line = '"$1" "$2" executions list --limit 2000 --store "$3" | head -n 1; echo $PIPESTATUS';
    for (const options of ["", "--json"]) {
      const { stdout, stderr } = await sh(line.replace("--limit", `${options} --limit`), process.execPath, BUILT, url);
      expect(stderr).toBe("");
      expect(stdout).toMatch(options === "" ? /^ID +OPERATION .*\n0\n$/ : /^\{\n0\n$/);
    }
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
