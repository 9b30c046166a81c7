import type { WorkerLine, WorkerProcess } from "./facts.ts";

/**
 * Incarnations that two processes were started for, and keys that stood for two of them. A second process of a key that ended at once,
 * `refused`, has done no harm: it is what the key is for.
 */
export function startedTwice(lines: readonly WorkerLine[]): string[] {
  const wrong: string[] = [];
  const pids = new Map<string, number>();
  const keys = new Map<string, string>();
  for (const { event, group, id, incarnation, key, pid } of lines) {
    const which = `${group}/${id}#${incarnation}`;
    if (event === "started") {
      const earlier = pids.get(which);
      if (earlier !== undefined) wrong.push(`${which} was started as process ${earlier} and as ${pid}`);
      pids.set(which, pid);
    }
    const owner = keys.get(key);
    if (owner !== undefined && owner !== which) wrong.push(`one key stands for ${owner} and for ${which}`);
    keys.set(key, which);
  }
  return wrong;
}

export function strangers(processes: readonly WorkerProcess[]): string[] {
  return processes.map(
    ({ group, id, incarnation, pid }) => `process ${pid} is ${group}/${id}#${incarnation}, without a row`,
  );
}
