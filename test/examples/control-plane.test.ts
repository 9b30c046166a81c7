import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { signalIfAlive } from "../support/child-processes.ts";
import { CWD, controlPlane, startedTwice, TEST_PATIENCE_MS, until, untilConverged } from "./control-plane-copies.ts";

/** Runs the command line that the copy printed below a sentence. */
async function runPrinted(printed: string, sentence: RegExp): Promise<string> {
  const lines = printed.split("\n");
  const command = lines[lines.findIndex((line) => sentence.test(line)) + 1] ?? "";
  return (await promisify(execFile)("sh", ["-c", command])).stdout;
}

/** `watch-state`, until it has printed that. */
async function untilWatched(url: string, what: RegExp): Promise<void> {
  const watch = spawn(process.execPath, ["--import", "tsx", "watch-state.ts", url], {
    cwd: CWD,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  watch.stdout.on("data", (chunk) => {
    printed += chunk;
  });
  try {
    await until("it is shown", () => what.test(printed));
  } finally {
    watch.kill("SIGKILL");
  }
}

describe("examples/control-plane", { timeout: TEST_PATIENCE_MS }, () => {
  it("shows a newcomer how workers come, go, are replaced, and outlive the program", async ({ onTestFinished }) => {
    const plane = await controlPlane(onTestFinished);
    // On a busy machine it may take longer to start again than workers are left alone by default.
    const patient = ["--stale-ms", "90000", "--orphan-ms", "300000"];
    const first = await plane.start("first", ...patient);
    await untilConverged(plane, first, 10);

    const page = await fetch(first.url);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, expect.stringContaining("text/html")]);
    expect(await page.text()).toContain("<html");

    expect(first.printed()).toContain("Lower what is desired from 10 to 5.");
    expect(await runPrinted(first.printed(), /^Lower /)).toBe('{"group":"worker","generation":2,"desired":5}');
    const five = await untilConverged(plane, first, 5);
    expect(five.group.resources.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4].map((index) => `worker-${index}`));

    await runPrinted(first.printed(), /^Kill /);
    await until("another one takes its place", () => plane.living().has("worker-3#2"));
    const replaced = await untilConverged(plane, first, 5);
    expect(replaced.group.resources[3]).toMatchObject({ id: "worker-3", incarnation: 2, reason: "NotObserved" });
    // The others are the same processes.
    const others = ({ group }: typeof five) => group.resources.filter(({ id }) => id !== "worker-3").map(pidOf);
    expect(others(replaced)).toEqual(others(five));

    expect(await first.stop("SIGTERM")).toBe(0);
    expect(first.printed()).toMatch(/^Workers go on without it\./m);
    const before = plane.living();
    const endedAt = performance.now();
    const second = await plane.start("second", ...patient);
    const taken = await untilConverged(plane, second, 5);
    expect(taken.group.resources.map(pidOf)).toEqual(replaced.group.resources.map(pidOf));
    await until("each of them beats through the second, wherever that is", async () => {
      const { group } = await second.state();
      const sinceMs = performance.now() - endedAt;
      return group.resources.every(({ heartbeatAgeMs = Number.POSITIVE_INFINITY }) => heartbeatAgeMs < sinceMs - 500);
    });
    expect(plane.living()).toEqual(before);
    expect(plane.events().filter(({ event }) => event === "started")).toHaveLength(11);
    expect(startedTwice(plane.events())).toEqual([]);
  });

  it("makes one resource of doubled and retried requests, and of other keys for it", async ({ onTestFinished }) => {
    const plane = await controlPlane(onTestFinished);
    const copy = await plane.start("only", "--desired", "0");
    const post = (key: string) => copy.ask("POST", "/resources", { id: "mine", spec: { colour: "blue" } }, key);
    const doubled = await Promise.all(Array.from({ length: 10 }, () => post("doubled")));
    expect(doubled.filter(({ status }) => status !== 201 && status !== 409)).toEqual([]);
    const retried = await post("doubled");
    expect(retried).toEqual({
      status: 201,
      text: '{"group":"worker","id":"mine","created":true,"generation":2}',
    });
    for (const { text } of doubled.filter(({ status }) => status === 201)) expect(text).toBe(retried.text);
    expect(await post("another")).toEqual({ status: 200, text: expect.stringContaining('"created":false') });

    const { group } = await untilConverged(plane, copy, 1);
    await untilWatched(copy.url, /^worker: 1 desired, 1 there, as desired\n(?:.*\n)+.*mine#1.*PROVISIONED/m);
    expect([group.generation, [...plane.living().keys()]]).toEqual([2, ["mine#1"]]);
    const deleted = await Promise.all([1, 2, 3].map(() => copy.ask("DELETE", "/resources/mine", undefined, "gone")));
    expect(deleted.some(({ status }) => status === 204)).toBe(true);
    expect(await copy.ask("DELETE", "/resources/mine", undefined, "gone")).toEqual({ status: 204, text: "" });
    await untilConverged(plane, copy, 0);
    expect(plane.events().map(({ event, id }) => `${id} ${event}`)).toEqual(["mine started", "mine ended"]);
  });

  it("is rid of workers that nobody answers, and makes others when it comes back", async ({ onTestFinished }) => {
    const plane = await controlPlane(onTestFinished);
    const args = ["--desired", "3", "--stale-ms", "30000", "--orphan-ms", "10000", "--lease-ms", "2000"];
    const first = await plane.start("first", ...args);
    await untilConverged(plane, first, 3);
    // On a busy machine they may not be the first of their names.
    const [before, said] = [[...plane.living().keys()].sort(), plane.events().length];
    await first.stop("SIGKILL");
    // Another program that has its port by now is nobody.
    const stranger = createServer((_request, response) => response.end("<html>")).listen(new URL(first.url).port);
    onTestFinished(() => void stranger.close());
    await until("they have ended", () => plane.living().size === 0);
    const ended = plane.events().slice(said);
    expect(ended.map(({ event, why }) => `${event}: ${why}`)).toEqual(
      Array(3).fill("ended: no control plane has answered"),
    );
    expect(ended.map(nameOf).sort()).toEqual(before);

    const second = await plane.start("second", ...args);
    const { group } = await untilConverged(plane, second, 3);
    expect(group.resources.map(({ id }) => id)).toEqual(["worker-0", "worker-1", "worker-2"]);
    expect(before.filter((name) => group.resources.map(nameOf).includes(name))).toEqual([]);
    expect(startedTwice(plane.events())).toEqual([]);
  });

  it("takes no beat of another ledger's workers, which end as if nobody answered", async ({ onTestFinished }) => {
    const [gone, plane] = [await controlPlane(onTestFinished), await controlPlane(onTestFinished)];
    const before = await gone.start("before", "--desired", "2", "--stale-ms", "30000", "--orphan-ms", "10000");
    await untilConverged(gone, before, 2);
    const [workers, said] = [[...gone.living().keys()].sort(), gone.events().length];
    expect(await before.stop("SIGTERM")).toBe(0);

    // Where the other one was, with workers of the same names.
    const port = ["--port", new URL(before.url).port];
    const copy = await plane.start("after", "--desired", "2", "--stale-ms", "15000", ...port);
    const { group } = await untilConverged(plane, copy, 2);
    const [frozen] = group.resources;
    signalIfAlive(Number(frozen?.externalId), "SIGSTOP");
    await until("nobody beats for the one that is frozen", async () => {
      const [worker] = (await copy.state()).group.resources.filter(({ state }) => state === "PROVISIONED");
      return worker?.id === frozen?.id && (worker?.incarnation ?? 0) > (frozen?.incarnation ?? 0);
    });
    await until("the workers of the other ledger have ended", () => gone.living().size === 0);
    const ended = gone.events().slice(said);
    expect(ended.map(({ event, why }) => `${event}: ${why}`)).toEqual(
      Array(2).fill("ended: no control plane has answered"),
    );
    expect(ended.map(nameOf).sort()).toEqual(workers);
  });

  it("ends when it is asked to, though somebody never sends the rest of a request", async ({ onTestFinished }) => {
    const plane = await controlPlane(onTestFinished);
    const copy = await plane.start("only", "--desired", "0");
    const { hostname, port } = new URL(copy.url);
    const slow = connect(Number(port), hostname).on("error", () => {});
    onTestFinished(() => void slow.destroy());
    const head = ["POST /resources HTTP/1.1", `Host: ${hostname}`, "Content-Type: application/json"];
    slow.write([...head, "Idempotency-Key: half", "Content-Length: 50", "", '{"id":'].join("\r\n"));
    await once(slow, "ready");
    // By then it has read what was sent before.
    await copy.state();
    expect(await copy.stop("SIGTERM")).toBe(0);
    expect(copy.printed()).toMatch(/^Workers go on without it\./m);
  });
});

function pidOf({ externalId }: { readonly externalId?: string | undefined }): string | undefined {
  return externalId;
}

function nameOf({ id, incarnation }: { readonly id: string; readonly incarnation: number }): string {
  return `${id}#${incarnation}`;
}
