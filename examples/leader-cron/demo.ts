import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startArchive } from "./archive.ts";
import { killNodes, type NodeProcess, startNode } from "./nodes.ts";
import { tally } from "./tally.ts";

/** What never comes about on a busy machine, either, is given up. */
const PATIENCE_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), "evenkeel-cron-"));
const { DATABASE = join(folder, "cron.db"), ARCHIVE = join(folder, "archive.jsonl"), EVERY_MS = "1000" } = process.env;
const everyMs = Number(EVERY_MS);
const startedAt = Date.now();
const lines: string[] = [];

// Nothing is left behind, however it ends.
process.once("exit", () => {
  killNodes();
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const archive = await startArchive(ARCHIVE);
const nodes = ["node-1", "node-2", "node-3"].map(start);

try {
  title("three nodes, of which one leads");
  await until("all compete", () => nodes.every(({ name }) => lines.includes(`${name} competes`)));
  await runs(3);

  title("kill -9 of the leader, in the middle of a report");
  const killed = await leaderAtWork();
  killed.signal("SIGKILL");
  print(`  ${killed.name} is killed`);
  await anotherLeads(killed);
  await runs(2);

  title("the leader is suspended at the worst moment, until another one leads, and goes on");
  const suspended = await suspendLeader();
  await anotherLeads(suspended);
  await runs(1);
  suspended.signal("SIGCONT");
  print(`  ${suspended.name} goes on`);
  await until("its report is refused", () => lines.some((line) => line.startsWith(`${suspended.name} is refused`)));
  await runs(1);

  title("the leader is asked to stop, and lets go of its lease");
  const stopped = await leaderAtWork();
  stopped.signal("SIGTERM");
  await anotherLeads(stopped);
  await runs(1);

  title("and the others");
  const left = nodes.filter((node) => node !== killed);
  for (const node of left) if (node !== stopped) node.signal("SIGTERM");
  const codes = await Promise.all(left.map(({ ended }) => ended));
  process.exitCode = summarise() && codes.every((code) => code === 0) ? 0 : 1;
} finally {
  killNodes();
  await Promise.all(nodes.map(({ ended }) => ended));
  archive.close();
}

function start(name: string): NodeProcess {
  const options = { name, database: DATABASE, archiveUrl: archive.url, everyMs, since: startedAt, onLine: hear };
  const node = startNode(options);
  void node.ended.then((how) => {
    // It has said why.
    if (how !== 0 && how !== "SIGKILL") process.exit(1);
  });
  return node;
}

function hear(line: string): void {
  lines.push(line);
  // Of what is begun, the end is told.
  if (!/ (begins|competes)/.test(line)) print(`  ${line}`);
}

/** Who has been heard to lead, and not to have stopped. */
function leaderNow(): NodeProcess | undefined {
  const [, name, epoch] = lines.map((line) => /^(\S+) leads, epoch (\d+)$/.exec(line)).findLast(Boolean) ?? [];
  const isOver = lines.some((line) => line.startsWith(`${name} leads no longer, epoch ${epoch} `));
  return isOver ? undefined : nodes.find((node) => node.name === name);
}

async function anotherLeads(former: NodeProcess): Promise<void> {
  const since = performance.now();
  await until("another one leads", () => leaderNow() !== undefined && leaderNow() !== former);
  print(`  ... after ${((performance.now() - since) / 1_000).toFixed(1)} s`);
}

/** The leader, just after it has begun with a report. */
async function leaderAtWork(): Promise<NodeProcess> {
  const from = lines.length;
  const isAtWork = (node: NodeProcess) => lines.slice(from).some((line) => line.startsWith(`${node.name} begins `));
  await until("a leader is at work", () => nodes.some((node) => node === leaderNow() && isAtWork(node)));
  return leaderNow() as NodeProcess;
}

async function suspendLeader(): Promise<NodeProcess> {
  for (;;) {
    const node = await leaderAtWork();
    node.signal("SIGTSTP");
    const isSuspended = () => lines.some((line) => line.startsWith(`${node.name} is suspended `));
    // On a busy machine it may lose its lease before it comes to that.
    await until("it is suspended", () => isSuspended() || leaderNow() !== node);
    if (isSuspended()) return node;
  }
}

/** So many more reports are in the archive. */
async function runs(count: number): Promise<void> {
  const before = tally(archive.deliveries, everyMs).slots;
  await until("the job runs", () => tally(archive.deliveries, everyMs).slots >= before + count);
}

/** @returns whether all is as it should be. */
function summarise(): boolean {
  const { slots, twice, missed, recognised, refused, wentBack } = tally(archive.deliveries, everyMs);
  print(`
${slots} slots run, ${twice.length || "none"} twice, ${missed.length || "none"} missed
${refused} late report${refused === 1 ? "" : "s"} of a former leader refused, ${wentBack ? "NOT ALL OF THEM" : "none let through"}
${recognised} sent again by who took over, and recognised`);
  return twice.length === 0 && missed.length === 0 && refused > 0 && !wentBack;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !holds(); await sleep(10))
    if (performance.now() > deadline) throw new Error(`It never came about that ${what}.`);
}

function title(text: string): void {
  print(`\n${text}`);
}

function print(text: string): void {
  console.log(text);
}
