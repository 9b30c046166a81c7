import { readFileSync } from "node:fs";
import { join } from "node:path";
import { commandLines } from "../processes.ts";
import type { WorkerLine, WorkerProcess } from "./facts.ts";

/** The workers that live, by their command lines: `worker.mjs FOLDER GROUP ID INCARNATION KEY …`, whatever the control plane says. */
export function workerProcesses(folder: string): WorkerProcess[] {
  return [...commandLines()].flatMap(([pid, line]) => {
    const [, before = ""] = line.split("worker.mjs ");
    if (!before.startsWith(`${folder} `)) return [];
    const [group = "", id = "", incarnation] = before.slice(folder.length + 1).split(" ");
    return [{ group, id, incarnation: Number(incarnation), pid }];
  });
}

/** What the workers have written of themselves. A line that is being written is not there yet. */
export function workerLines(folder: string): WorkerLine[] {
  try {
    const lines = readFileSync(join(folder, "log.jsonl"), "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as WorkerLine);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
