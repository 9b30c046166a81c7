import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";

/** What the command has of the process that it runs in. */
export interface Io {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts with an {@link Interruption} when the command shall end before it is done. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly random: Random;
  /** Of the package. */
  readonly version: string;
}

/** Why a command was ended: by a signal, or because nobody reads any more what it prints. */
export class Interruption extends Error {
  /** With what the process ends. */
  readonly exitStatus: number;

  constructor(exitStatus: number) {
    super("The command was interrupted.");
    this.name = "Interruption";
    this.exitStatus = exitStatus;
  }
}
