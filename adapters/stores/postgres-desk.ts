import type { Clock } from "../../src/clock.ts";
import { closedError, unavailable } from "./postgres-errors.ts";

/** A connection that is not there after so long may be one that meets silence: who comes next asks for another. */
const LONGEST_TRUST_MS = 250;
/**
 * How many requests there may be beyond all connections that there may be: with so many each place is taken, and the first
 * that becomes free is ours.
 */
const MOST_SPARE = 8;

export interface PostgresDeskOptions<Client> {
  readonly clock: Clock;
  /** Asks for a connection. Whatever it takes, it can't be called off. */
  request(): Promise<Client>;
  /** Takes a connection back that nobody wants any more. */
  giveBack(client: Client): void;
  /** How many connections there may be at once. */
  readonly most: () => number;
}

interface Waiter<Client> {
  resolve(client: Client): void;
  reject(error: Error): void;
}

interface Request<Client> {
  readonly madeAt: number;
  /** Who is told when it fails. */
  of: Waiter<Client>;
}

/**
 * Where those wait who need a connection, each no longer than until its deadline. Requests outlive who made them: a
 * connection that comes late goes to the next in the line, or back unused. So a line of any length, and calls that have long
 * given up, leave no more than a few requests behind.
 */
export class PostgresDesk<Client> {
  readonly #options: PostgresDeskOptions<Client>;
  readonly #line = new Set<Waiter<Client>>();
  readonly #requests = new Set<Request<Client>>();
  #isClosed = false;

  constructor(options: PostgresDeskOptions<Client>) {
    this.#options = options;
  }

  /** @throws EvenkeelError `STORE_UNAVAILABLE`; what the request threw. */
  take(deadline: number): Promise<Client> {
    if (this.#isClosed) return Promise.reject(closedError());
    const { clock } = this.#options;
    return new Promise<Client>((resolve, reject) => {
      const leave = (): void => {
        timer.clear();
        doubt.clear();
        this.#line.delete(waiter);
      };
      const waiter: Waiter<Client> = {
        resolve: (client) => {
          leave();
          resolve(client);
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      const leftMs = Math.max(0, deadline - clock.monotonic());
      const onTimeout = (): void => waiter.reject(unavailable(new Error("no connection was free in time")));
      const timer = clock.setTimer(leftMs, onTimeout);
      // It may be counting on a request of somebody who has gone, which meets silence.
      const doubt = clock.setTimer(LONGEST_TRUST_MS, () => this.#ask());
      this.#line.add(waiter);
      this.#ask();
    });
  }

  /** Refuses all who wait; what was asked for goes back when it comes. */
  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#line) waiter.reject(closedError());
  }

  /** Makes the requests that those who wait need. */
  #ask(): void {
    const { clock, most } = this.#options;
    const since = clock.monotonic() - LONGEST_TRUST_MS;
    const trusted = [...this.#requests].filter(({ madeAt }) => madeAt > since);
    const served = new Set(trusted.map(({ of }) => of));
    const needed = Math.min(this.#line.size - trusted.length, most() + MOST_SPARE - this.#requests.size);
    const unserved = [...this.#line].filter((waiter) => !served.has(waiter));
    for (const waiter of unserved.slice(0, Math.max(0, needed))) this.#askFor(waiter);
  }

  #askFor(waiter: Waiter<Client>): void {
    const { clock, request } = this.#options;
    const made: Request<Client> = { madeAt: clock.monotonic(), of: waiter };
    this.#requests.add(made);
    const settle = (outcome: () => void): void => {
      this.#requests.delete(made);
      outcome();
      this.#ask();
    };
    request().then(
      (client) => settle(() => this.#give(client, made.of)),
      (error) => settle(() => made.of.reject(error)),
    );
  }

  /** Whose turn it is gets the connection, and leaves its own requests to whom that one was for. */
  #give(client: Client, asker: Waiter<Client>): void {
    const [first] = this.#line;
    if (first === undefined) return this.#options.giveBack(client);
    for (const request of this.#requests) if (request.of === first) request.of = asker;
    first.resolve(client);
  }
}
