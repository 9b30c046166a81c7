import type { Clock, Timer } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import type { StoreCall } from "../../src/store.ts";
import type { RedisClient } from "./redis-client.ts";
import { type Confirmation, RedisConfirmations, type ReplicaWait } from "./redis-confirmations.ts";
import { RedisDeadlines } from "./redis-deadlines.ts";
import { bare, isNoScript } from "./redis-errors.ts";
import type { RedisScript } from "./redis-script.ts";
import { checkSettings } from "./redis-settings.ts";

/** After how long primaries of a cluster that did not tell their settings are asked again. */
const ASK_AGAIN_MS = 10_000;

export interface RedisConnectionOptions {
  readonly clock: Clock;
  readonly allowEviction: boolean;
  /** Where a ledger of a later version says so. */
  readonly formatKey: string;
  /** Called when the server would not tell its eviction policy. */
  readonly onUnknownPolicy: () => void;
}

/** What a script is run with: the first key says where. */
export interface ScriptCall {
  readonly keys: readonly [string, ...string[]];
  readonly args: readonly (string | Buffer)[];
}

/** What makes sure that a script's write is on replicas too. */
export interface DurableCall {
  /** Writes to what the script wrote, and answers with the token that it found there. */
  readonly touch: ScriptCall;
  readonly confirmations: RedisConfirmations;
  /** The token of what the script wrote; `undefined` where nothing has to be on replicas. */
  readonly tokenOf: (answer: unknown[]) => string | undefined;
  /** Called as soon as the script has answered, also where the call fails after that. */
  readonly onAnswer: (answer: unknown[]) => void;
}

/**
 * Runs scripts on the user's client: each call settles within its time, whatever the driver would do with it, and nothing is
 * put into a queue of the driver where it would wait for a server to come back.
 */
export class RedisConnection {
  readonly #client: RedisClient;
  readonly #options: RedisConnectionOptions;
  /** The settings are checked once; a check that failed is made again by the next call. */
  #checked: Promise<void> | "passed" | undefined;
  /** Asks again those primaries that did not answer the check. */
  #nextCheck: Timer | undefined;
  #toldUnknown = false;
  /** Those who wait until the client is ready. Each leaves when its time is up, since that may be long before. */
  readonly #waiting = new Set<() => void>();
  #lastError: unknown;
  #closed = false;
  readonly #deadlines: RedisDeadlines;
  readonly #onError = (error?: unknown): void => {
    this.#lastError = error;
  };
  readonly #onReady = (): void => {
    this.#lastError = undefined;
    this.#wakeWaiting();
  };

  constructor(client: RedisClient, options: RedisConnectionOptions) {
    this.#client = client;
    this.#options = options;
    this.#deadlines = new RedisDeadlines(options.clock, () => this.#whySilent());
    // Both drivers connect again by themselves; an emitter without a listener for errors would end the process first.
    client.on("error", this.#onError);
    client.on("ready", this.#onReady);
  }

  /**
   * Runs a script in one round trip, or two where the server does not know it yet.
   * @throws EvenkeelError `STORE_UNAVAILABLE` within the call's time, `STORE_MISCONFIGURED`.
   */
  run(script: RedisScript, call: ScriptCall, bounds: StoreCall): Promise<unknown[]> {
    return this.#deadlines.bound(bounds.timeoutMs, async (signal) => {
      if (!this.#isUsable()) await this.#usable(bounds, signal);
      return this.#evaluate(script, call, signal);
    });
  }

  /**
   * Runs a script, and beside it a second one followed by `WAIT` on one connection, in the same round trip. The second one
   * writes, so that `WAIT` has something to wait for on a connection that is new. While replicas are missing it is sent only
   * once the answer asks for it: a replay need not wait behind what waits in vain.
   *
   * @returns the answer, and on how many replicas it is where it has to be on some.
   */
  runDurably(
    script: RedisScript,
    call: ScriptCall,
    { touch, confirmations, tokenOf, onAnswer }: DurableCall,
    bounds: StoreCall,
  ): Promise<{ readonly answer: unknown[]; readonly replicas: number | undefined }> {
    const endsAt = this.#options.clock.monotonic() + bounds.timeoutMs;
    return this.#deadlines.bound(bounds.timeoutMs, async (signal) => {
      if (!this.#isUsable()) await this.#usable(bounds, signal);
      const [key] = touch.keys;
      const confirm = () => confirmations.confirm({ key, parameters: parametersOf(touch) }, endsAt);
      const first = this.#evaluate(script, call, signal);
      const beside = confirmations.isShort(key) ? undefined : confirm();
      // Whether anybody asks for it depends on the answer.
      beside?.catch(() => {});
      const answer = await first;
      onAnswer(answer);
      const token = tokenOf(answer);
      if (token === undefined) return { answer, replicas: undefined };
      const replicasOf = async (asked: Promise<Confirmation>): Promise<number | undefined> => {
        const { found, replicas } = await asked;
        return String(found) === token ? replicas : undefined;
      };
      // It found nothing, or what was there before, when it came before the script, which the server did not know.
      return { answer, replicas: (beside && (await replicasOf(beside))) ?? (await replicasOf(confirm())) ?? 0 };
    });
  }

  /** What waits for so many replicas on this client, and writes again by this script. */
  confirmations(touch: RedisScript, wait: ReplicaWait): RedisConfirmations {
    return new RedisConfirmations(this.#client, this.#options.clock, touch, wait);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#nextCheck?.clear();
    this.#wakeWaiting();
    await this.#deadlines.drained();
    this.#client.off("error", this.#onError);
    this.#client.off("ready", this.#onReady);
  }

  assertOpen(): void {
    if (this.#closed) throw new EvenkeelError("STORE_UNAVAILABLE", "The Redis store is closed.");
  }

  async #evaluate(script: RedisScript, call: ScriptCall, signal: AbortSignal): Promise<unknown[]> {
    const [key] = call.keys;
    const parameters = parametersOf(call);
    try {
      return (await this.#client.send(key, ["EVALSHA", script.sha, ...parameters], signal)) as unknown[];
    } catch (error) {
      if (!isNoScript(error)) throw error;
      signal.throwIfAborted();
      return (await this.#client.send(key, ["EVAL", script.text, ...parameters], signal)) as unknown[];
    }
  }

  /** Whether {@link RedisConnection.#usable} has nothing to wait for. */
  #isUsable(): boolean {
    return !this.#closed && this.#checked === "passed" && this.#client.state === "ready";
  }

  /** Waits until a command would be written at once, and the server's settings are known to be good. */
  async #usable({ timeoutMs }: StoreCall, signal: AbortSignal): Promise<void> {
    await this.#untilReady(signal);
    if (this.#checked === "passed") return;
    this.#checked ??= this.#check(timeoutMs);
    await this.#checked;
    signal.throwIfAborted();
    this.assertOpen();
  }

  async #check(timeoutMs: number): Promise<void> {
    const { clock, allowEviction, formatKey } = this.#options;
    try {
      const asked = { clock, allowEviction, formatKey, timeoutMs };
      const { policy, silent } = await checkSettings(this.#client, asked);
      this.#checked = "passed";
      if (policy === "unknown" && !this.#toldUnknown) this.#options.onUnknownPolicy();
      this.#toldUnknown ||= policy === "unknown";
      if (silent === 0 || this.#closed) return;
      // Beside the calls, which go on: a check that then fails is made again before the next one.
      const again = (): void => void this.#check(timeoutMs).catch(() => {});
      this.#nextCheck = clock.setTimer(ASK_AGAIN_MS, again, { ref: false });
    } catch (error) {
      this.#checked = undefined;
      throw error;
    }
  }

  async #untilReady(signal: AbortSignal): Promise<void> {
    while (true) {
      this.assertOpen();
      const { state } = this.#client;
      if (state === "ready") return;
      if (state === "unconnected") {
        throw new EvenkeelError(
          "STORE_MISCONFIGURED",
          "The Redis client is not connected: call `await client.connect()` before the store is used.",
        );
      }
      if (state === "closed") throw new EvenkeelError("STORE_UNAVAILABLE", "The Redis client is closed.");
      await this.#nextReady(signal);
      signal.throwIfAborted();
    }
  }

  #nextReady(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiting.delete(leave);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      this.#waiting.add(leave);
      signal.addEventListener("abort", leave);
    });
  }

  #wakeWaiting(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** What the driver said last, where it has no connection. */
  #whySilent(): string | undefined {
    return this.#client.state === "ready" || this.#lastError === undefined ? undefined : bare(this.#lastError).message;
  }
}

function parametersOf({ keys, args }: ScriptCall): (string | Buffer)[] {
  return [String(keys.length), ...keys, ...args];
}
