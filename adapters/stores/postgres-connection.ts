import type { Clock } from "../../src/clock.ts";
import type { Random } from "../../src/random.ts";
import type { StoreCall } from "../../src/store.ts";
import type { PostgresDriver, PostgresRow, PostgresStatement } from "./postgres-driver.ts";
import {
  asSetUpError,
  asStoreError,
  closedError,
  isReadOnly,
  isRolledBackByOthers,
  isUndefinedObject,
  misconfigured,
  unavailable,
} from "./postgres-errors.ts";
import type { LedgerPlace } from "./postgres-names.ts";
import { findLedger, migrateSchema, noLedger, type PostgresLedger } from "./postgres-schema.ts";

/** Set-up that takes longer than this fails; the next call begins anew. */
const LONGEST_SET_UP_MS = 15_000;
/** Who finds a look for the ledger that has taken so long begins another, on another connection. */
const LONGEST_LOOK_MS = 250;
const SHORTEST_RETRY_MS = 5;
const LONGEST_RETRY_MS = 25;

export interface PostgresConnectionOptions {
  readonly driver: PostgresDriver;
  readonly clock: Clock;
  readonly random: Random;
  readonly place: LedgerPlace;
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
  #settingUp: SetUp | undefined;
  #closing: Promise<void> | undefined;

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
    const now = this.clock.monotonic();
    if (this.#settingUp === undefined || (this.#settingUp.looks && now - this.#settingUp.since > LONGEST_LOOK_MS)) {
      const setUp: SetUp = { since: now, looks: true, done: Promise.resolve() };
      this.#settingUp = setUp;
      setUp.done = this.#setUp(setUp).finally(() => {
        if (this.#settingUp === setUp) this.#settingUp = undefined;
      });
    }
    return this.#settingUp.done as Promise<PostgresLedger>;
  }

  /** Creates or upgrades the schema. */
  async migrate(): Promise<void> {
    this.assertOpen();
    try {
      await this.#makeLedger(this.clock.monotonic() + LONGEST_SET_UP_MS);
    } catch (error) {
      throw asSetUpError(error);
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
        return await this.within(deadline, this.#run(ledger, statement, deadline));
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
    if (isUndefinedObject(error) || isReadOnly(error)) this.forgetLedger();
    return asStoreError(error);
  }

  /** What was found may be gone, or another's: the next call looks again. */
  forgetLedger(): void {
    this.#ledger = undefined;
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
    await Promise.all([...[...this.#users].map((user) => user.close()), this.driver.close()]);
  }

  async #run(ledger: PostgresLedger, statement: LedgerStatement, deadline: number): Promise<PostgresRow[]> {
    let begun = false;
    const rows = await this.driver.run(() => {
      if (this.closed || this.clock.monotonic() >= deadline) return undefined;
      begun = true;
      return { ...statement(ledger), deadline };
    }, deadline);
    if (!begun) throw this.closed ? closedError() : unavailable(new Error("no connection was free in time"));
    return rows;
  }

  async #setUp(setUp: SetUp): Promise<PostgresLedger> {
    const { driver, place, migrate } = this.#options;
    const deadline = this.clock.monotonic() + LONGEST_SET_UP_MS;
    try {
      let found = await findLedger(driver, place, deadline);
      setUp.looks = false;
      if (found === undefined) {
        if (!migrate) throw noLedger();
        await this.#makeLedger(deadline);
        found = await findLedger(driver, place, deadline);
      }
      if (found === undefined) throw noLedger();
      this.#ledger = found;
      return found;
    } catch (error) {
      // Another one that was begun beside may have come further.
      if (this.#ledger !== undefined) return this.#ledger;
      throw asSetUpError(error);
    }
  }

  async #makeLedger(deadline: number): Promise<void> {
    const { driver, place } = this.#options;
    const text = "SELECT current_setting('server_encoding')::text AS encoding";
    const [row] = await driver.run(() => ({ text, values: [], deadline }), deadline);
    const encoding = row?.["encoding"] ?? "UTF8";
    if (encoding !== "UTF8")
      throw misconfigured("the database's encoding must be UTF8: create it with ENCODING 'UTF8'.");
    await migrateSchema(driver, place, deadline);
  }
}

/** A search for the ledger under way. */
interface SetUp {
  readonly since: number;
  /** Whether it is still looking: what it does then may take longer. */
  looks: boolean;
  done: Promise<unknown>;
}
