import { afterPendingIo, type Timer } from "../../src/clock.ts";
import type { StoreCall } from "../../src/store.ts";
import type { PostgresConnection } from "./postgres-connection.ts";
import type { PostgresRow, PostgresStatement } from "./postgres-driver.ts";
import { closedError, isRolledBackByOthers, leavesConnectionUsable, unavailable } from "./postgres-errors.ts";
import {
  answersOf,
  type LargeAnswer,
  MOST_BYTES,
  type RecordAnswer,
  type RecordCall,
  type RecordOperation,
  type RecordStatements,
  statementsOf,
  valuesOfMany,
  valuesOfOne,
} from "./postgres-operations.ts";
import type { PostgresLedger } from "./postgres-schema.ts";
import { assertStorable } from "./postgres-texts.ts";

/** How many calls share a statement at most. */
const MOST_ENTRIES = 128;
/** While so many are under way, further calls gather for the next one. */
const STATEMENTS_AT_ONCE = 2;
/** A statement that takes longer than this is stuck, and no longer holds back others. */
const LONGEST_HOLDING_BACK_MS = 250;
/** Including those that are stuck. */
const MOST_STATEMENTS = 8;

interface Entry {
  readonly call: RecordCall;
  readonly deadline: number;
  readonly timer: Timer;
  /** With how many others it may go; fewer after it failed in company. */
  company: number;
  /** How many bytes it brings, or will be answered with, as far as that is known. */
  bytes: number;
  isSettled: boolean;
  /** Why it has not been answered yet. */
  reason: unknown;
  resolve(answer: RecordAnswer): void;
  reject(error: Error): void;
}

interface Flight {
  readonly startedAt: number;
  /** Waiting for a connection: what arrives meanwhile goes along. */
  isBoarding: boolean;
}

/**
 * Calls of one operation, as few statements as possible. A lone call goes at once, in the turn of the event loop in which it
 * was made; what is made in the same turn, or while {@link STATEMENTS_AT_ONCE} statements are under way, goes together. So
 * nothing ever waits for company, and the more there is to do the more a statement carries.
 *
 * Each call is decided on its own. A record that is `busy` is asked about again, until the call's time is over. When a
 * statement fails with an error that may be one call's fault, its calls are repeated alone.
 */
export class RecordQueue<Answer extends RecordAnswer> {
  readonly #connection: PostgresConnection;
  readonly #operation: RecordOperation;
  #waiting: Entry[] = [];
  readonly #resting = new Set<Entry>();
  readonly #flights = new Map<Flight, Promise<void>>();
  #scheduled = false;
  #stuckTimer: Timer | undefined;
  #statements: (RecordStatements & { readonly of: PostgresLedger }) | undefined;

  constructor(connection: PostgresConnection, operation: RecordOperation) {
    this.#connection = connection;
    this.#operation = operation;
    connection.adopt({ close: () => this.#close() });
  }

  async ask(call: RecordCall, { timeoutMs }: StoreCall): Promise<Answer> {
    this.#connection.assertOpen();
    assertStorable(...Object.values(call.fields));
    const { clock } = this.#connection;
    return new Promise<Answer>((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        if (entry.isSettled) return;
        entry.isSettled = true;
        entry.timer.clear();
        this.#resting.delete(entry);
        outcome();
      };
      const onTimeout = (): void => entry.reject(unavailable(entry.reason ?? new Error("no answer in time")));
      const entry: Entry = {
        call,
        deadline: clock.monotonic() + timeoutMs,
        timer: clock.setTimer(timeoutMs, onTimeout),
        company: MOST_ENTRIES,
        bytes: call.bytes?.length ?? 0,
        isSettled: false,
        reason: undefined,
        resolve: (answer) => settle(() => resolve(answer as Answer)),
        reject: (error) => settle(() => reject(error)),
      };
      this.#enqueue(entry);
    });
  }

  /** Refuses what has not begun, and waits for the rest. */
  async #close(): Promise<void> {
    for (const entry of [...this.#waiting.splice(0), ...this.#resting]) entry.reject(closedError());
    this.#stuckTimer?.clear();
    // Who still waits for a connection carries nothing any more, and gives it back unused.
    const begun = [...this.#flights].filter(([flight]) => !flight.isBoarding);
    await Promise.all(begun.map(([, landed]) => landed));
  }

  #enqueue(entry: Entry): void {
    this.#waiting.push(entry);
    if (this.#scheduled) return;
    this.#scheduled = true;
    afterPendingIo(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #startWhenReady(): void {
    const refuse = (error: Error): void => {
      for (const entry of this.#waiting.splice(0)) entry.reject(error);
    };
    this.#connection.ready().then(() => this.#start(), refuse);
  }

  /** Starts as many statements as there are calls for. */
  #start(): void {
    this.#stuckTimer?.clear();
    this.#waiting = this.#waiting.filter(({ isSettled }) => !isSettled);
    if (this.#waiting.length === 0) return;
    if (this.#connection.ledger === undefined) return this.#startWhenReady();
    const { clock } = this.#connection;
    const now = clock.monotonic();
    while (this.#waiting.length > 0 && !this.#connection.closed) {
      const isFresh = ({ startedAt }: Flight): boolean => now - startedAt < LONGEST_HOLDING_BACK_MS;
      // Who has waited that long for a connection may wait in vain: the next one asks for another.
      const flights = [...this.#flights.keys()].filter((flight) => !flight.isBoarding || isFresh(flight));
      const fresh = flights.filter(isFresh);
      const seats = fresh.filter(({ isBoarding }) => isBoarding).length * MOST_ENTRIES;
      if (this.#waiting.length <= seats || flights.length >= MOST_STATEMENTS) return;
      if (fresh.length >= STATEMENTS_AT_ONCE) {
        this.#stuckTimer = clock.setTimer(LONGEST_HOLDING_BACK_MS, () => this.#start(), { ref: false });
        return;
      }
      const flight: Flight = { startedAt: now, isBoarding: true };
      const landed = this.#fly(flight).finally(() => {
        this.#flights.delete(flight);
        this.#start();
      });
      this.#flights.set(flight, landed);
    }
  }

  /** Carries what waits once a connection is there. Never rejects: every entry has been told. */
  async #fly(flight: Flight): Promise<void> {
    let entries: Entry[] = [];
    const deadline = Math.max(...this.#waiting.map((entry) => entry.deadline));
    try {
      const rows = await this.#connection.driver.run(() => {
        flight.isBoarding = false;
        const { ledger, closed } = this.#connection;
        if (closed || ledger === undefined) return undefined;
        entries = this.#board();
        return entries.length === 0 ? undefined : this.#statement(ledger, entries);
      }, deadline);
      this.#answer(entries, rows);
    } catch (error) {
      // Without a connection nobody has boarded yet: this is the answer to those who would have. Who came later has another.
      const isOver = flight.isBoarding && this.#connection.clock.monotonic() >= deadline;
      if (!isOver) this.#fail(flight.isBoarding ? this.#board() : entries, error);
    }
  }

  /** Takes those whose turn it is, sorted by their records. */
  #board(): Entry[] {
    this.#waiting = this.#waiting.filter(({ isSettled }) => !isSettled);
    let sum = 0;
    let room = MOST_ENTRIES;
    let count = 0;
    for (const { company, bytes } of this.#waiting) {
      room = Math.min(room, company);
      sum += bytes;
      if (count > 0 && (count >= room || sum > MOST_BYTES)) break;
      count += 1;
    }
    return this.#waiting.splice(0, count).sort(byRecord);
  }

  #statement(ledger: PostgresLedger, entries: readonly Entry[]): PostgresStatement {
    if (this.#statements?.of !== ledger) {
      this.#statements = { of: ledger, ...statementsOf(this.#operation, ledger) };
    }
    const { ofOne, ofMany } = this.#statements;
    const deadline = Math.max(...entries.map((entry) => entry.deadline));
    const [first] = entries;
    if (first !== undefined && entries.length === 1) {
      return { text: ofOne, values: valuesOfOne(first.call, this.#operation), deadline };
    }
    return { text: ofMany, values: valuesOfMany(entries.map(({ call }) => call)), deadline };
  }

  #answer(entries: readonly Entry[], rows: readonly PostgresRow[]): void {
    const answers = answersOf(entries.length, rows);
    for (const [n, entry] of entries.entries()) {
      const answer = answers[n];
      if (answer === undefined) entry.reject(unavailable(new Error("the function gave no answer")));
      else if (answer.status === "busy") this.#repeat(entry, new Error("another transaction is writing the record"));
      else if (answer.status === "large") this.#defer(entry, answer as LargeAnswer);
      else entry.resolve(answer);
    }
  }

  /** Asks again at once, with no more in company than the answers leave room for. */
  #defer(entry: Entry, { bytes }: LargeAnswer): void {
    if (this.#connection.closed) return entry.reject(closedError());
    entry.bytes = bytes;
    if (!entry.isSettled) this.#enqueue(entry);
  }

  #fail(entries: readonly Entry[], error: unknown): void {
    const wasAlone = entries.length === 1;
    for (const entry of entries) {
      if (isRolledBackByOthers(error)) {
        entry.company = Math.max(1, entries.length >> 2);
        this.#repeat(entry, error);
      } else if (!wasAlone && leavesConnectionUsable(error)) {
        entry.company = 1;
        this.#repeat(entry, error);
      } else entry.reject(this.#connection.explain(error));
    }
  }

  /** Asks again a little later, for as long as somebody waits for it. */
  #repeat(entry: Entry, reason: unknown): void {
    const { clock, closed } = this.#connection;
    entry.reason = reason;
    if (closed) return entry.reject(unavailable(reason));
    if (entry.isSettled) return;
    this.#resting.add(entry);
    clock.setTimer(this.#connection.retryMs(), () => {
      if (this.#resting.delete(entry)) this.#enqueue(entry);
    });
  }
}

const byRecord = ({ call: a }: Entry, { call: b }: Entry): number =>
  a.record < b.record ? -1 : +(a.record > b.record);
