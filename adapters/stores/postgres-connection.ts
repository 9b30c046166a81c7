import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";
import type { StoreCall } from "../../src/store.ts";
import type { PostgresDriver, PostgresRow, PostgresStatement } from "./postgres-driver.ts";
import {
  asStoreError,
  closedError,
  isReadOnly,
  isRolledBackByOthers,
  isUndefinedObject,
  unavailable,
} from "./postgres-errors.ts";
import { findLedger, migrateSchema, noLedger, type PostgresLedger } from "./postgres-schema.ts";

/** Set-up that takes longer than this fails; the next call begins anew. */
const LONGEST_SET_UP_MS = 15_000;
const SHORTEST_RETRY_MS = 5;
const LONGEST_RETRY_MS = 25;

export interface PostgresConnectionOptions {
  readonly driver: PostgresDriver;
  readonly clock: Clock;
  readonly random: Random;
  readonly prefix: string;
  /** Whether the first use makes the schema. */
  readonly migrate: boolean;
}

/** Who has calls under way, or asked for, when the store is closed. */
export interface PostgresUser {
  /** Refuses what has not begun, and resolves once the rest is settled. */
  close(): Promise<void>;
}

/** A statement for the ledger that was found. */
export type LedgerStatement = (ledger: PostgresLedger) => Omit<PostgresStatement, "deadline">;

/**
 * What all calls of a store share: the driver, the ledger that was found (or made) on first use, and its end. Nothing is
 * kept between calls that a broken connection could take along.
 */
export class PostgresConnection {
  readonly driver: PostgresDriver;
  readonly clock: Clock;
  readonly #options: PostgresConnectionOptions;
  readonly #users = new Set<PostgresUser>();
  #ledger: PostgresLedger | undefined;
  #settingUp: Promise<PostgresLedger> | undefined;
  #closing: Promise<void> | undefined;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(options: PostgresConnectionOptions) {
    this.driver = options.driver;
    this.clock = options.clock;
    this.#options = options;
  }

  /** The ledger, once it was found. */
  get ledger(): PostgresLedger | undefined {
    return this.#ledger;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** @throws EvenkeelError `STORE_UNAVAILABLE`. */
  assertOpen(): void {
    if (this.closed) throw closedError();
  }

  /** `user` is closed with the connection. */
  adopt(user: PostgresUser): void {
    this.#users.add(user);
  }

  /** Finds the ledger, and makes it where that is wanted. A failure is tried again by the next call. */
  ready(): Promise<PostgresLedger> {
    if (this.#ledger !== undefined) return Promise.resolve(this.#ledger);
    this.#settingUp ??= this.#track(this.#setUp()).finally(() => {
      this.#settingUp = undefined;
    });
    return this.#settingUp;
  }

  /** Creates or upgrades the schema. */
  async migrate(): Promise<void> {
    this.assertOpen();
    const { driver, prefix } = this.#options;
    try {
      await this.#track(migrateSchema(driver, prefix, this.clock.monotonic() + LONGEST_SET_UP_MS));
    } catch (error) {
      throw asStoreError(error);
    }
  }

  /** Runs one statement alone. It is repeated when another transaction was in the way. */
  async query(call: StoreCall, statement: LedgerStatement): Promise<PostgresRow[]> {
    this.assertOpen();
    const deadline = this.clock.monotonic() + call.timeoutMs;
    const ledger = await this.within(deadline, this.ready());
    for (;;) {
      this.assertOpen();
      try {
        return await this.within(deadline, this.#track(this.#run(ledger, statement, deadline)));
      } catch (error) {
        const retryMs = this.retryMs();
        if (!isRolledBackByOthers(error) || this.clock.monotonic() + retryMs >= deadline) throw this.explain(error);
        await this.clock.sleep(retryMs);
      }
    }
  }

  /** How long to leave a record alone that somebody else is writing. */
  retryMs(): number {
    return SHORTEST_RETRY_MS + this.#options.random.float() * (LONGEST_RETRY_MS - SHORTEST_RETRY_MS);
  }

  /** What a failed statement means to its caller. */
  explain(error: unknown): Error {
    // Somebody has dropped the ledger, or the primary is another server now: the next call looks what is there, and says so.
    if (isUndefinedObject(error) || isReadOnly(error)) this.#ledger = undefined;
    return asStoreError(error);
  }

  /** Waits for `answer`, but no longer than until `deadline`. */
  within<T>(deadline: number, answer: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const leftMs = Math.max(0, deadline - this.clock.monotonic());
      const timer = this.clock.setTimer(leftMs, () => reject(unavailable(new Error("no answer in time"))));
      answer.then(resolve, reject).finally(() => timer.clear());
    });
  }

  /** Refuses what has not begun, waits for what has, and gives back what the driver opened. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#users].map((user) => user.close()));
    await Promise.allSettled(this.#underWay);
    await this.driver.close();
  }

  async #run(ledger: PostgresLedger, statement: LedgerStatement, deadline: number): Promise<PostgresRow[]> {
    let begun = false;
    const rows = await this.driver.run(() => {
      if (this.closed || this.clock.monotonic() >= deadline) return undefined;
      begun = true;
      return { ...statement(ledger), deadline };
    });
    if (!begun) throw this.closed ? closedError() : unavailable(new Error("no connection was free in time"));
    return rows;
  }

  async #setUp(): Promise<PostgresLedger> {
    const { driver, prefix, migrate } = this.#options;
    const deadline = this.clock.monotonic() + LONGEST_SET_UP_MS;
    try {
      let found = await findLedger(driver, prefix, deadline);
      if (found === undefined) {
        if (!migrate) throw noLedger();
        await migrateSchema(driver, prefix, deadline);
        found = await findLedger(driver, prefix, deadline);
      }
      if (found === undefined) throw noLedger();
      this.#ledger = found;
      return found;
    } catch (error) {
      throw asStoreError(error);
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    const done = (): void => void this.#underWay.delete(work);
    work.then(done, done);
    return work;
  }
}
