import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

describe("examples/express-payments", () => {
  it("plays its demo to the end, with every line as it should be", async () => {
    const { stdout } = await run("npm", ["run", "demo", "--silent"], { cwd: ROOT });
    const lines = stdout.split("\n").filter((line) => /\d+ charge|no charge/.test(line));
    expect(lines).toHaveLength(7);
    expect(lines.filter((line) => !line.endsWith("yes"))).toEqual([]);
  });

  it("serves on `npm run start:payments`, and its three curl lines do what they say", async () => {
    const folder = await mkdtemp(join(tmpdir(), "evenkeel-start-"));
    const env = { ...process.env, PORT: "0", DATABASE: join(folder, "payments.db") };
    // A group of its own, because npm starts a shell, and that the service.
    const started = spawn("npm", ["run", "start:payments", "--silent"], { cwd: ROOT, env, detached: true });
    try {
      const curls = await curlLines(started);
      expect(curls).toHaveLength(3);
      const answers: string[] = [];
      for (const line of curls) answers.push((await run("sh", ["-c", `${line} --silent`])).stdout);
      const [charged = "", again = "", otherAmount = ""] = answers;
      expect(charged).toMatch(/^HTTP\/1\.1 201 /);
      expect(charged).not.toMatch(/^idempotent-replayed:/im);
      expect(again).toMatch(/^HTTP\/1\.1 201 /);
      expect(again).toMatch(/^idempotent-replayed: true/im);
      expect(bodyOf(again)).toBe(bodyOf(charged));
      expect(otherAmount).toMatch(/^HTTP\/1\.1 422 /);
      expect(JSON.parse(bodyOf(otherAmount))).toMatchObject({ code: "FINGERPRINT_MISMATCH", retryable: false });
      expect(existsSync(join(folder, "payments.db"))).toBe(true);
    } finally {
      const gone = once(started, "exit");
      process.kill(-(started.pid as number), "SIGTERM");
      await gone;
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** The commands that it prints, once it has printed them all. */
function curlLines(started: ChildProcess): Promise<string[]> {
  return new Promise((resolve, reject) => {
    let printed = "";
    started.once("exit", (code) => reject(new Error(`npm run start:payments ended with ${code}: ${printed}`)));
    started.stderr?.on("data", (chunk) => {
      printed += chunk;
    });
    started.stdout?.on("data", (chunk) => {
      printed += chunk;
      if (/What the bank charged/.test(printed)) resolve(printed.match(/curl -i .*/g) ?? []);
    });
  });
}

function bodyOf(answer: string): string {
  return answer.slice(answer.indexOf("\r\n\r\n") + 4);
}
