import type { RedisArguments, RedisClient } from "./redis-client.ts";

/** What writes again to what is to be on replicas; the first key says where. */
export interface Touch {
  readonly key: string;
  readonly args: RedisArguments;
}

/** How many replicas, and for how long they are waited for. */
export interface ReplicaWait {
  readonly replicas: number;
  readonly timeoutMs: number;
}

interface Asked extends Touch {
  readonly signal: AbortSignal;
  readonly resolve: (replicas: number | undefined) => void;
  readonly reject: (error: unknown) => void;
}

interface Lane {
  /** Those whom the next `WAIT` serves. */
  waiting: Asked[];
  /** Those whom the one under way serves. */
  underWay: readonly Asked[];
  isScheduled: boolean;
  isShort: boolean;
}

/**
 * Finds out on how many replicas writes are. A connection does nothing else while a `WAIT` waits, so there is one at a time:
 * it serves all who asked by then, and those who ask meanwhile share the next. One each would fill the connection, while
 * replicas are missing, for longer than any call has time.
 */
export class RedisConfirmations {
  readonly #client: RedisClient;
  readonly #wait: ReplicaWait;
  readonly #lanes = new Map<string, Lane>();

  constructor(client: RedisClient, wait: ReplicaWait) {
    this.#client = client;
    this.#wait = wait;
  }

  /** Whether the last `WAIT` was short: then the next one may hold up the connection for its whole time. */
  isShort(key: string): boolean {
    return this.#laneOf(key).isShort;
  }

  /** On how many replicas it is; `undefined` where the touch found nothing. */
  confirm(touch: Touch, signal: AbortSignal): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const lane = this.#laneOf(touch.key);
      lane.waiting.push({ ...touch, signal, resolve, reject });
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
    // Of a connection that gives no answer nobody expects one any more once all have given up, and a pool has others.
    if (lane.underWay.some(({ signal }) => !signal.aborted)) return;
    const asked = lane.waiting.filter(({ signal }) => !signal.aborted);
    lane.waiting = [];
    const [first] = asked;
    if (first === undefined) return;
    lane.underWay = asked;
    const { replicas, timeoutMs } = this.#wait;
    const commands = [...asked.map(({ args }) => args), ["WAIT", String(replicas), String(timeoutMs)]];
    const settle = (each: (one: Asked, at: number) => void): void => {
      asked.forEach(each);
      if (lane.underWay !== asked) return;
      lane.underWay = [];
      this.#next(lane);
    };
    this.#client.sendTogether(first.key, commands).then(
      (answers) => {
        const reached = Number(String(answers.at(-1)));
        lane.isShort = reached < replicas;
        settle(({ resolve }, at) => resolve(Number(String(answers[at])) === 1 ? reached : undefined));
      },
      (error: unknown) => settle(({ reject }) => reject(error)),
    );
  }

  /** Of a cluster only what has one hash tag is on one connection for sure. */
  #laneOf(key: string): Lane {
    const name = this.#client.topology === "cluster" ? (/\{(.*?)\}/.exec(key)?.[1] ?? key) : "";
    const lane = this.#lanes.get(name) ?? { waiting: [], underWay: [], isScheduled: false, isShort: false };
    this.#lanes.set(name, lane);
    return lane;
  }
}
