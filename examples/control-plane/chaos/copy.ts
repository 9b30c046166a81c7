import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { LedgerProxy } from "./ledger-proxy.ts";
import { NoRun } from "./options.ts";

export interface CopyOptions {
  readonly name: string;
  /** Its way to the ledger, and to nobody else's. */
  readonly proxy: LedgerProxy;
  /** The arguments of `server.ts` beside its name. */
  readonly args: readonly string[];
  /** Aborts when nothing is to be started any more. */
  readonly signal: AbortSignal;
  /** Called when it ends and nobody has ended it, with what there is to say. */
  readonly onCrash: (what: string) => void;
}

/** The exit code of a copy that says in one line why it can't begin. */
const REFUSED = 2;

/** How often a copy is started that ends before it answers. */
const STARTS = 3;

const FOLDER = fileURLToPath(new URL("../", import.meta.url));

/** A copy of the control plane, as a process that can be killed, frozen, and started again. */
export class Copy {
  readonly name: string;
  readonly proxy: LedgerProxy;
  readonly #options: CopyOptions;
  #child: ChildProcess | undefined;
  #url: string | undefined;
  #isFrozen = false;
  #lives = 0;

  constructor(options: CopyOptions) {
    this.#options = options;
    this.name = options.name;
    this.proxy = options.proxy;
  }

  /** Where it answers, or would if it were not frozen; undefined while it does not run. */
  get url(): string | undefined {
    return this.#url;
  }

  /** Its name, and which start of it this is. */
  get life(): string {
    return `${this.name} (${this.#lives})`;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  /**
   * Starts it, and waits until it answers.
   * @throws NoRun with the last of what it said, when it ends before.
   */
  async start(): Promise<void> {
    const { name, args, signal, onCrash } = this.#options;
    signal.throwIfAborted();
    const all = ["--import", "tsx", "server.ts", "--name", name, "--port", "0", ...args];
    // A process group of its own: Ctrl-C is for chaos alone.
    const child = spawn(process.execPath, all, { cwd: FOLDER, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const said: string[] = [];
    let answersAt = (_url: string): void => {};
    const isUp = new Promise<string>((resolve) => {
      answersAt = resolve;
    });
    for (const output of [child.stdout, child.stderr])
      createInterface({ input: output }).on("line", (line) => {
        said.splice(0, said.push(line) - 5);
        const [, url] = /^control plane on (http:\S+)/.exec(line) ?? [];
        if (url !== undefined) answersAt(url);
      });
    this.#child = child;
    this.#lives += 1;
    const ended = once(child, "close");
    void ended.then(([code, killedBy]) => {
      if (this.#child !== child) return;
      const hasAnswered = this.#url !== undefined;
      this.#forget();
      // One that can't begin says why, and may be started again. On a busy machine its ledger may not have answered in time.
      if (code === REFUSED && !hasAnswered) return;
      onCrash(`${name} ended with ${killedBy ?? code}: ${said.join(" / ")}`);
    });
    this.#url = await Promise.race([isUp, ended.then(() => undefined)]);
    if (this.#url === undefined) throw new NoRun(`${name} did not start: ${said.join(" / ")}`);
  }

  /** Ends it at once, and resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#forget();
    if (child === undefined) return;
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  }

  freeze(): void {
    this.#isFrozen = this.#child?.kill("SIGSTOP") ?? false;
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
    this.#isFrozen = false;
  }

  /** Asks it to end, and gives its exit code, or the signal that ended it. */
  async stop(): Promise<unknown> {
    const child = this.#forget();
    if (child === undefined) return 0;
    const ended = once(child, "close");
    child.kill("SIGTERM");
    const [code, signal] = await ended;
    return signal ?? code;
  }

  /** From now on its end is no crash. */
  #forget(): ChildProcess | undefined {
    const child = this.#child;
    this.#child = undefined;
    this.#url = undefined;
    this.#isFrozen = false;
    return child;
  }
}

/**
 * Starts a copy that does not run. What it lacked on a busy machine may be there the next time.
 * @throws NoRun with the last of what it said the last time.
 */
export async function startPatiently(copy: Copy): Promise<void> {
  for (let tries = 1; copy.url === undefined; tries += 1) {
    try {
      await copy.start();
    } catch (error) {
      if (!(error instanceof NoRun) || tries === STARTS) throw error;
    }
  }
}

/** The same where it goes on without: one that does not answer in the end is told of then. */
export async function startAgain(copy: Copy): Promise<void> {
  await startPatiently(copy).catch(() => {});
}
