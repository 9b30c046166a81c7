import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, type TestContext } from "vitest";
import { type Delivery, startArchive } from "../../examples/leader-cron/archive.ts";
import { type NodeProcess, startNode } from "../../examples/leader-cron/nodes.ts";
import { slots } from "../../examples/leader-cron/schedule.ts";
import { tally } from "../../examples/leader-cron/tally.ts";
import { childrenOf, isAlive, signalIfAlive } from "../support/child-processes.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../support/engines.ts";
import { until } from "../support/until.ts";

const CWD = fileURLToPath(new URL("../../examples/leader-cron", import.meta.url));
const EVERY_MS = 1_000;
/** The longest takes 15 s where there is nothing else to do. */
const PATIENCE_MS = 150_000;

/** Of the test itself: several run at once. */
type OnFinished = TestContext["onTestFinished"];

async function newFolder(onTestFinished: OnFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-example-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** The demo as a process. Its own temporary files are in the folder, too. */
async function startDemo(onTestFinished: OnFinished, env: Record<string, string> = {}) {
  const folder = await newFolder(onTestFinished);
  const archive = join(folder, "archive.jsonl");
  const demo = spawn(process.execPath, ["--import", "tsx", "demo.ts"], {
    cwd: CWD,
    env: { ...process.env, TMPDIR: folder, ARCHIVE: archive, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const children = new Set<number>();
  onTestFinished(() => {
    for (const pid of [demo.pid as number, ...children]) signalIfAlive(pid, "SIGKILL");
  });
  const ended = once(demo, "close").then(([code]) => code as number | null);
  let printed = "";
  demo.stdout.on("data", (chunk) => {
    printed += chunk;
    for (const child of childrenOf(demo.pid as number)) children.add(child);
  });
  return {
    demo,
    children,
    printed: () => printed,
    ended,
    /** Resolves once it has printed that, however long that takes. */
    async says(what: RegExp): Promise<void> {
      while (!what.test(printed))
        await Promise.race([once(demo.stdout, "data"), ended.then(() => Promise.reject(new Error(printed)))]);
    },
    deliveries: () => linesOf(archive),
    leftFolders: () => readdirSync(folder).filter((name) => name.startsWith("evenkeel-cron-")),
  };
}

type Demo = Awaited<ReturnType<typeof startDemo>>;

function linesOf(archive: string): Delivery[] {
  return readFileSync(archive, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Delivery);
}

/** What has to hold of every record of an archive, whatever happened to the nodes. */
function expectEachSlotOnce(deliveries: readonly Delivery[], everyMs = EVERY_MS): void {
  const accepted = deliveries.filter(({ outcome }) => outcome !== "refused");
  const epochs = accepted.map(({ epoch }) => epoch);
  expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
  const leaders = new Map(deliveries.map(({ epoch, node }) => [epoch, node]));
  expect(deliveries.filter(({ epoch, node }) => leaders.get(epoch) !== node)).toEqual([]);
  // Each slot once, none left out, the oldest first.
  const filed = deliveries.filter(({ outcome }) => outcome === "filed").map(({ slot }) => Date.parse(slot));
  expect(filed).toEqual(filed.map((_, index) => (filed[0] as number) + index * everyMs));
  // It is not the archive alone that sees to it: nothing is sent again but by who took over.
  const turns = accepted.map(({ slot, attempt }) => `${slot} ${attempt}`);
  expect(turns.filter((turn, index) => turns.indexOf(turn) !== index)).toEqual([]);
  for (const { epoch } of deliveries.filter(({ outcome }) => outcome === "refused"))
    expect(epoch).toBeLessThan(Math.max(...epochs));
}

async function playDemo(onTestFinished: OnFinished, env: Record<string, string> = {}): Promise<void> {
  const { ended, printed, deliveries, children, leftFolders } = await startDemo(onTestFinished, env);
  expect([await ended, printed()]).toEqual([0, expect.stringMatching(/slots run, none twice, none missed/)]);
  expectEachSlotOnce(deliveries());

  const names = (line: RegExp) => [...printed().matchAll(line)].map(([, name]) => name);
  const [killed] = names(/^ {2}(\S+) is killed$/gm);
  const [suspended] = names(/^ {2}(\S+) is suspended /gm);
  expect(new Set(names(/^ {2}(\S+) leads, /gm)).size).toBe(3);
  expect(killed).toEqual(expect.any(String));
  expect(printed()).toMatch(/ leads no longer, epoch \d+ \(stopped\)$/m);
  // On a busy machine a leadership may end more often than it was made to.
  expect(names(/^ {2}(\S+) is refused /gm)).toContain(suspended);
  const refused = deliveries().find(({ outcome, node }) => outcome === "refused" && node === suspended);
  const filed = deliveries().find(({ outcome, slot }) => outcome === "filed" && slot === refused?.slot);
  expect(filed?.node).not.toBe(suspended);
  expect(filed?.attempt).toBeGreaterThan(refused?.attempt as number);

  // tsx has one of its own.
  expect(children.size).toBeGreaterThanOrEqual(3);
  expect([...children].filter(isAlive)).toEqual([]);
  expect(leftFolders()).toEqual([]);
}

async function killWhileItRuns({ demo, says, children, deliveries }: Demo): Promise<void> {
  await says(/ ran /);
  expect(children.size).toBeGreaterThanOrEqual(3);
  demo.kill("SIGKILL");
  // Nobody ends them: they see that it is gone.
  await until("its nodes have ended", () => ![...children].some(isAlive));
  expectEachSlotOnce(deliveries());
}

describe.concurrent("examples/leader-cron", { timeout: PATIENCE_MS }, () => {
  it("plays its demo to the end, and the record of the target bears it out", ({ onTestFinished }) =>
    playDemo(onTestFinished));

  it("leaves nothing behind at Ctrl-C", async ({ onTestFinished }) => {
    const { demo, ended, says, children, leftFolders } = await startDemo(onTestFinished);
    await says(/ ran /);
    demo.kill("SIGINT");
    expect(await ended).toBe(1);
    await until("its nodes have ended", () => ![...children].some(isAlive));
    expect(leftFolders()).toEqual([]);
  });

  describePostgres("on PostgreSQL", () => {
    it("runs, and its nodes end when the demo is killed", async ({ onTestFinished }) => {
      await killWhileItRuns(await startDemo(onTestFinished, { DATABASE: await databaseUrl() }));
    });
  });

  describeRedis("on Redis", () => {
    it("runs, and its nodes end when the demo is killed", async ({ onTestFinished }) => {
      await killWhileItRuns(await startDemo(onTestFinished, { DATABASE: redisUrl() }));
    });
  });

  it("runs each slot once however its leaders are killed, suspended and stopped", async ({ onTestFinished }) => {
    const folder = await newFolder(onTestFinished);
    const file = join(folder, "archive.jsonl");
    /** What happens to the sender of the next report, before it gets its answer. */
    let strike: ((sender: NodeProcess, delivery: Delivery) => void) | undefined;
    const nodes = new Map<string, NodeProcess>();
    const archive = await startArchive(file, (delivery) => {
      if (delivery.outcome !== "filed") return;
      const struck = strike;
      strike = undefined;
      struck?.(nodes.get(delivery.node) as NodeProcess, delivery);
    });
    onTestFinished(() => archive.close());
    const lines: string[] = [];
    const since = Date.now();
    const start = async (name: string): Promise<void> => {
      const options = { name, database: join(folder, "cron.db"), archiveUrl: archive.url, everyMs: EVERY_MS, since };
      const node = startNode({ ...options, onLine: (line) => lines.push(line) });
      nodes.set(name, node);
      onTestFinished(async () => {
        node.signal("SIGKILL");
        await node.ended;
      });
      // By then it listens to signals.
      const from = lines.length;
      await until("it competes", () => lines.slice(from).includes(`${name} competes`));
    };
    await Promise.all(["node-1", "node-2", "node-3"].map(start));

    /** Waits until it came to that, from the sender of a report. */
    const onReport = async (act: (sender: NodeProcess) => void): Promise<{ sender: NodeProcess; made: Delivery }> => {
      let struck: { sender: NodeProcess; made: Delivery } | undefined;
      strike = (sender, made) => {
        act(sender);
        struck = { sender, made };
      };
      await until("a report comes in", () => struck !== undefined);
      return struck as unknown as { sender: NodeProcess; made: Delivery };
    };
    /** Waits until one begins to write a report. */
    const onBegin = async (): Promise<NodeProcess> => {
      const from = lines.length;
      const begins = () => lines.slice(from).find((line) => / begins /.test(line));
      await until("a report is begun", () => begins() !== undefined);
      return nodes.get((begins() as string).split(" ")[0] as string) as NodeProcess;
    };
    const more = async (count = 1): Promise<void> => {
      const before = tally(archive.deliveries, EVERY_MS).slots;
      await until("the job goes on", () => tally(archive.deliveries, EVERY_MS).slots >= before + count);
    };
    const by = (node: NodeProcess) => archive.deliveries.filter(({ node: name }) => name === node.name).length;
    const of = ({ slot }: Delivery) =>
      archive.deliveries.filter((made) => made.slot === slot).map(({ outcome }) => outcome);
    await more();

    // The effect is made, and its maker dies before it knows.
    const killed = await onReport((sender) => sender.signal("SIGKILL"));
    await more();
    expect(of(killed.made)).toEqual(["filed", "known"]);
    await killed.sender.ended;
    await start(killed.sender.name);

    // The same, and it is only suspended. Should that be within a write to the file, nobody gets at it until it goes on.
    const suspended = await onReport((sender) => sender.signal("SIGSTOP"));
    const before = archive.deliveries.length;
    const giveUpAt = performance.now() + 8_000;
    await until("another one goes on", () => archive.deliveries.length > before || performance.now() > giveUpAt);
    suspended.sender.signal("SIGCONT");
    await more();
    expect(of(suspended.made).filter((outcome) => outcome === "filed")).toHaveLength(1);

    // All at once.
    for (const node of nodes.values()) node.signal("SIGSTOP");
    await sleep(3_500);
    for (const node of nodes.values()) node.signal("SIGCONT");
    await more();

    // At the worst moment, and for so short a time that nobody notices.
    const isSuspended = () => lines.some((line) => / is suspended /.test(line));
    while (!isSuspended()) {
      (await onBegin()).signal("SIGTSTP");
      const from = lines.length;
      await until("it comes to that", () => isSuspended() || lines.slice(from).some((line) => / begins /.test(line)));
    }
    for (const node of nodes.values()) node.signal("SIGCONT");
    await more();

    // Asked to stop over an effect, it ends that, and leaves the rest to the next one.
    const stopped = await onReport((sender) => sender.signal("SIGTERM"));
    expect(await stopped.sender.ended).toBe(0);
    const last = by(stopped.sender);
    await more();
    expect(of(stopped.made)).toEqual(["filed"]);
    expect(by(stopped.sender)).toBe(last);
    await start(stopped.sender.name);

    // Asked to stop while it writes, it gives the slot back.
    const leaving = await onBegin();
    leaving.signal("SIGTERM");
    expect(await leaving.ended).toBe(0);
    await more();

    for (const node of nodes.values()) node.signal("SIGTERM");
    expect(await Promise.all([...nodes.values()].map(({ ended }) => ended))).toEqual([0, 0, 0]);
    expect(linesOf(file)).toEqual(archive.deliveries);
    expectEachSlotOnce(linesOf(file));
  });

  it("looks back for slots that were missed, no further than it is told and not to before the job was set up", async () => {
    const now = Date.now();
    const first = async (count: number, since: number, lookBackMs: number): Promise<number[]> => {
      const times: number[] = [];
      const options = { since, everyMs: EVERY_MS, lookBackMs, signal: AbortSignal.timeout(60_000) };
      for await (const slot of slots(options)) if (times.push(Date.parse(slot)) === count) break;
      return times;
    };
    const [oldest = 0, ...rest] = await first(5, now - 60_000, 5_000);
    expect(oldest).toBeGreaterThanOrEqual(now - 5_000);
    expect(rest).toEqual([1, 2, 3, 4].map((count) => oldest + count * EVERY_MS));
    const since = Math.floor(now / EVERY_MS) * EVERY_MS - 2 * EVERY_MS;
    expect(await first(1, since, 60_000)).toEqual([since]);
  });

  it("would say so if a slot was run twice, or left out, or a former leader was let through", () => {
    const made = (second: number, rest: Partial<Delivery> = {}): Delivery => {
      const slot = new Date(second * 1_000).toISOString();
      return { slot, epoch: 1, attempt: 1, node: "node-1", outcome: "filed", ...rest };
    };
    const good = [made(1), made(2), made(2, { epoch: 5, attempt: 2, outcome: "known" }), made(3, { epoch: 5 })];
    const late = made(3, { outcome: "refused" });
    const fine = { slots: 3, twice: [], missed: [], recognised: 1, refused: 1, wentBack: false };
    expect(tally([...good, late], 1_000)).toEqual(fine);
    const third = made(3).slot;
    expect(tally([...good, made(3, { epoch: 5, attempt: 2 })], 1_000).twice).toEqual([third]);
    expect(tally([...good, made(3, { epoch: 5, outcome: "known" })], 1_000).twice).toEqual([third]);
    expect(tally([...good, made(5, { epoch: 5 })], 1_000).missed).toEqual([made(4).slot]);
    expect(tally([...good, made(4)], 1_000).wentBack).toBe(true);
  });
});
