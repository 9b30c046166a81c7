import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { takeOnce } from "./take-once.ts";

/** One incarnation of a worker. */
export interface WorkerName {
  readonly id: string;
  readonly incarnation: number;
}

/** What is in the file of an incarnation, from its start on and for ever: who took it, and the key of the start. */
export interface WorkerFile {
  /** 0 where it was taken so that nobody starts it any more. */
  readonly pid: number;
  readonly key: string;
}

/**
 * The files that workers take at their start, of one group: one for each incarnation, which can be taken once. They are what makes a
 * start with the same idempotency key the same start, whichever copy asks for it, and however late.
 */
export function workerFiles(folder: string, group: string) {
  const files = join(folder, group);
  const pathOf = ({ id, incarnation }: WorkerName): string => join(files, `${id}#${incarnation}`);

  return {
    /** Undefined where nobody has taken it yet. */
    read(name: WorkerName): WorkerFile | undefined {
      try {
        return JSON.parse(readFileSync(pathOf(name), "utf8")) as WorkerFile;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
    },

    /** Takes it, unless it is taken, so that a start that is still under way somewhere comes too late. */
    close(name: WorkerName, key: string): void {
      takeOnce(pathOf(name), JSON.stringify({ pid: 0, key }));
    },

    /** All that are taken. */
    list(): WorkerName[] {
      return readdirSync(files).flatMap((file) => {
        const [, id, incarnation] = /^(.+)#(\d+)$/.exec(file) ?? [];
        return id === undefined ? [] : [{ id, incarnation: Number(incarnation) }];
      });
    },
  };
}

/** Tells workers whose copies are all gone where there are others. */
export function writeServers(folder: string, servers: readonly string[]): void {
  const file = join(folder, "servers.json");
  const draft = `${file}.${process.pid}.draft`;
  writeFileSync(draft, JSON.stringify(servers));
  renameSync(draft, file);
}
