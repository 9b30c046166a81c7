import type { Clock } from "../../src/clock.ts";
import type { RedisArguments, RedisClient } from "./redis-client.ts";
import { isNoScript } from "./redis-errors.ts";
import type { RedisScript } from "./redis-script.ts";

/** A pool's connection that has not answered a `WAIT` so long after its time is taken for silent. */
const SILENT_MS = 100;

/** How many replicas, and for how long they are waited for. */
export interface ReplicaWait {
  readonly replicas: number;
  readonly timeoutMs: number;
}

/** How what is to be on replicas is written again. */
export interface Touch {
  /** Says where. */
  readonly key: string;
  /** Of the script. */
  readonly parameters: RedisArguments;
}

/** What the touch found, and on how many replicas it is then. */
export interface Confirmation {
  readonly found: unknown;
  readonly replicas: number;
}

interface Asked extends Touch {
  /** Nobody waits any more from then on, by the clock's monotonic time. */
  readonly endsAt: number;
  readonly resolve: (confirmation: Confirmation) => void;
  readonly reject: (error: unknown) => void;
}

/** What goes over one connection. */
interface Lane {
  /** Those whom the next `WAIT` serves. */
  waiting: Asked[];
  /** Those whom the one under way serves. */
  underWay: readonly Asked[] | undefined;
  isScheduled: boolean;
  isShort: boolean;
  /** Whether the server had the touch's script the last time. */
  isKnown: boolean;
}

/**
 * Finds out on how many replicas writes are. A connection does nothing else while a `WAIT` waits, so there is one at a time:
 * it serves all who asked by then, and those who ask meanwhile share the next. One each would fill the connection, while
 * replicas are missing, for longer than any call has time. None waits for longer than somebody waits for it.
 */
export class RedisConfirmations {
  readonly #client: RedisClient;
  readonly #clock: Clock;
  readonly #touch: RedisScript;
  readonly #wait: ReplicaWait;
  readonly #lanes = new Map<string, Lane>();

  constructor(client: RedisClient, clock: Clock, touch: RedisScript, wait: ReplicaWait) {
    this.#client = client;
    this.#clock = clock;
    this.#touch = touch;
    this.#wait = wait;
  }

  /** Whether the last `WAIT` was short: then the next one may hold up the connection for its whole time. */
  isShort(key: string): boolean {
    return this.#laneOf(key).isShort;
  }

  /** Settles only as long as somebody waits, by the clock's monotonic time. */
  confirm(touch: Touch, endsAt: number): Promise<Confirmation> {
    return new Promise((resolve, reject) => {
      const lane = this.#laneOf(touch.key);
      lane.waiting.push({ ...touch, endsAt, resolve, reject });
      if (lane.isScheduled) return;
      lane.isScheduled = true;
      // What one turn asks for goes together.
      process.nextTick(() => {
        lane.isScheduled = false;
        this.#next(lane);
      });
    });
  }

  #next(lane: Lane): void {
    if (lane.underWay !== undefined) return;
    const now = this.#clock.monotonic();
    const asked = lane.waiting.filter(({ endsAt }) => endsAt > now);
    lane.waiting = [];
    if (asked.length === 0) return;
    lane.underWay = asked;
    const { replicas, timeoutMs } = this.#wait;
    const leftMs = this.#leftOf(asked);
    const end = (): void => {
      timer.clear();
      if (lane.underWay !== asked) return;
      lane.underWay = undefined;
      this.#next(lane);
    };
    // Of a connection that gives no answer nobody expects one any more once all have given up, and a pool has others.
    const boundMs = this.#client.isPool ? Math.min(leftMs, timeoutMs + SILENT_MS) : leftMs;
    const onSilence = (): void => {
      lane.waiting.unshift(...asked);
      end();
    };
    const timer = this.#clock.setTimer(boundMs, onSilence, { ref: false });
    this.#ask(lane, asked).then(
      (answers) => {
        const waited = answers.at(-1);
        if (waited?.status !== "fulfilled") {
          for (const { reject } of asked) reject(waited?.reason);
          return end();
        }
        const reached = Number(String(waited.value));
        lane.isShort = reached < replicas;
        asked.forEach(({ resolve, reject }, at) => {
          const touched = answers[at] as PromiseSettledResult<unknown>;
          if (touched.status === "fulfilled") resolve({ found: touched.value, replicas: reached });
          else reject(touched.reason);
        });
        end();
      },
      (error: unknown) => {
        for (const { reject } of asked) reject(error);
        end();
      },
    );
  }

  /** One answer each, and that of `WAIT`. */
  async #ask(lane: Lane, asked: readonly Asked[]): Promise<PromiseSettledResult<unknown>[]> {
    const { text, sha } = this.#touch;
    const send = (texts: number): Promise<PromiseSettledResult<unknown>[]> => {
      const waitMs = Math.max(1, Math.floor(Math.min(this.#wait.timeoutMs, this.#leftOf(asked))));
      const touches = asked.map(({ parameters }, at) => [
        ...(at < texts ? ["EVAL", text] : ["EVALSHA", sha]),
        ...parameters,
      ]);
      const commands = [...touches, ["WAIT", String(this.#wait.replicas), String(waitMs)]];
      return this.#client.sendTogether((asked[0] as Asked).key, commands);
    };
    try {
      const answers = await send(lane.isKnown ? 0 : 1);
      lane.isKnown = !answers.some((answer) => answer.status === "rejected" && isNoScript(answer.reason));
      if (lane.isKnown) return answers;
    } catch (error) {
      if (!isNoScript(error)) throw error;
      lane.isKnown = false;
    }
    // Of a new primary, to which the driver has sent again what was lost with the one before.
    if (lane.underWay !== asked) throw new Error("the answer came too late");
    const answers = await send(asked.length);
    lane.isKnown = true;
    return answers;
  }

  /** For how long anybody waits. */
  #leftOf(asked: readonly Asked[]): number {
    const now = this.#clock.monotonic();
    return asked.reduce((most, { endsAt }) => Math.max(most, endsAt - now), 0);
  }

  #laneOf(key: string): Lane {
    const name = this.#client.nodeOf(key);
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const lane = { waiting: [], underWay: undefined, isScheduled: false, isShort: false, isKnown: false };
    this.#lanes.set(name, lane);
    return lane;
  }
}
