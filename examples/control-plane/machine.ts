import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type ActionContext, NotFound, type ObservedResource } from "evenkeel";
import { commandLinesOf } from "./processes.ts";
import { type WorkerName, workerFiles } from "./worker-files.ts";

export interface MachineOptions {
  /** The folder of the workers' files. */
  readonly folder: string;
  readonly group: string;
  /** The id of the ledger that knows of the workers. It goes with their beats. */
  readonly ledger: string;
  /** Where workers can beat. */
  readonly servers: () => Promise<readonly string[]>;
  readonly beatMs: number;
  readonly orphanMs: number;
  /** Called when a worker has ended that this copy started. */
  readonly onEnded: (worker: WorkerName) => void;
}

/** Where workers live: what the API of a cloud would be to another program. */
export type Machine = ReturnType<typeof createMachine>;

const WORKER = fileURLToPath(new URL("worker.mjs", import.meta.url));

/**
 * Starts, finds and ends the workers of one group on this machine, whichever copy has started them.
 *
 * It honours the idempotency key of a start: a second start with the key starts nothing, but answers what the first one made, also where
 * that has ended meanwhile.
 */
export function createMachine({ folder, group, ledger, servers, beatMs, orphanMs, onEnded }: MachineOptions) {
  const files = workerFiles(folder, group);
  /** Incarnations that have ended. None comes back, so that nobody has to look again. */
  const ended = new Set<string>();

  /** What a worker is known by: a process id alone may be another program's by now. */
  const argumentsOf = ({ id, incarnation }: WorkerName, key: string): string[] => [
    folder,
    group,
    id,
    String(incarnation),
    key,
  ];

  function living(names: readonly WorkerName[]): (WorkerName & { readonly pid: number })[] {
    const taken = names.flatMap((name) => {
      const file = ended.has(nameOf(name)) ? undefined : files.read(name);
      return file === undefined ? [] : [{ ...name, ...file }];
    });
    const lines = commandLinesOf(taken.map(({ pid }) => pid));
    return taken.filter(({ pid, key, ...name }) => {
      const lives = lines.get(pid)?.includes(["worker.mjs", ...argumentsOf(name, key)].join(" ")) ?? false;
      if (!lives) ended.add(nameOf(name));
      return lives;
    });
  }

  async function launch(name: WorkerName, key: string, signal: AbortSignal): Promise<void> {
    const how = JSON.stringify({ servers: await servers(), ledger, beatMs, orphanMs });
    const child = fork(WORKER, [...argumentsOf(name, key), how], {
      // It outlives this copy, and hears nothing of the Ctrl-C that ends it.
      detached: true,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      execArgv: [],
    });
    child.unref();
    child.once("exit", () => onEnded(name));
    // It says that it is at work, or ends, since another one was first.
    await Promise.race([once(child, "message", { signal }), once(child, "exit", { signal })]);
  }

  return {
    /** All that live. */
    observe: (): ObservedResource[] =>
      living(files.list()).map(({ id, incarnation, pid }) => ({ id, incarnation, externalId: String(pid) })),

    /**
     * @returns the process id of what was started with this key, now or before.
     * @throws Error where the incarnation was taken with another key: so that it can't be started any more, for one.
     */
    async start({ id, incarnation }: WorkerName, { idempotencyKey, signal }: ActionContext): Promise<number> {
      const name = { id, incarnation };
      if (files.read(name) === undefined) await launch(name, idempotencyKey, signal);
      const file = files.read(name);
      if (file === undefined) throw new Error("It ended before it began.");
      if (file.key !== idempotencyKey)
        throw new Error(`Incarnation ${incarnation} of ${id} was taken with another key.`);
      return file.pid;
    },

    /** @throws NotFound where it does not live; from then on it can't be started any more, either. */
    signal({ id, incarnation }: WorkerName, signal: NodeJS.Signals, { idempotencyKey }: ActionContext): void {
      const name = { id, incarnation };
      files.close(name, idempotencyKey);
      const [worker] = living([name]);
      if (worker === undefined) throw new NotFound();
      try {
        process.kill(worker.pid, signal);
      } catch (error) {
        throw (error as NodeJS.ErrnoException).code === "ESRCH" ? new NotFound() : error;
      }
    },
  };
}

function nameOf({ id, incarnation }: WorkerName): string {
  return `${id}#${incarnation}`;
}
