import { setTimeout as sleep } from "node:timers/promises";
import { type Letter, send, sendAndDrop } from "./client.ts";
import type { Dice } from "./dice.ts";
import type { Answer, RequestFacts } from "./facts.ts";

/** Where requests go. */
export interface Addressee {
  readonly name: string;
  readonly url: string;
}

export interface DeliveryOptions {
  /** Those copies that run, frozen ones too: a client can't tell. */
  readonly copies: () => readonly Addressee[];
  /** Gets each request when nothing more is sent of it. */
  readonly onDone: (request: RequestFacts) => void;
  /** Aborts when it is time to give up. */
  readonly signal: AbortSignal;
}

/** What is to be done with a letter. */
export interface DeliveryTerms {
  /** The statuses that it may be answered with. */
  readonly wanted: readonly number[];
  /** Of this letter alone: what becomes of it depends on no other one, nor on how often it has to be sent. */
  readonly dice: Dice;
}

/** What is done to requests on their way, and how often. */
export interface DeliveryCounts {
  doubledAtOnce: number;
  doubledLater: number;
  droppedReplies: number;
}

/**
 * Delivers requests as clients in trouble do: until there is an answer, through whichever copy is there, with the same key. Of some the
 * reply is thrown away, some are sent twice at once, and some once more later, through another copy.
 */
export class Delivery {
  readonly counts: DeliveryCounts = { doubledAtOnce: 0, doubledLater: 0, droppedReplies: 0 };
  readonly #options: DeliveryOptions;
  readonly #echoes = new Set<Promise<unknown>>();

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  /** @returns the first answer; undefined where it was given up before. What is sent again later goes on behind it. */
  async deliver(letter: Letter, { wanted, dice }: DeliveryTerms): Promise<Answer | undefined> {
    const facts = { ...letter, answers: [] as Answer[], sent: 0, dropped: 0, deferred: 0, wanted };
    const isDropped = dice.chance(0.3);
    const isDoubledAtOnce = dice.chance(0.3);
    const laterMs = dice.chance(0.4) ? dice.between(500, 5_000) : undefined;
    const [dropping, first, twin, later] = [dice.fork(), dice.fork(), dice.fork(), dice.fork()];

    if (isDropped) await this.#drop(letter, facts, dropping);
    if (isDoubledAtOnce) this.counts.doubledAtOnce += 1;
    const twins = await Promise.all([
      this.#sendUntilAnswered(letter, facts, first),
      ...(isDoubledAtOnce ? [this.#sendUntilAnswered(letter, facts, twin)] : []),
    ]);
    const echo = this.#echo(letter, facts, later, laterMs).then(() => this.#options.onDone(facts));
    this.#echoes.add(echo);
    void echo.finally(() => this.#echoes.delete(echo));
    return twins[0];
  }

  /** Resolves when nothing is under way any more. */
  async settle(): Promise<void> {
    await Promise.all(this.#echoes);
  }

  async #drop(letter: Letter, facts: { sent: number; dropped: number }, dice: Dice): Promise<void> {
    const afterMs = dice.between(0, 60);
    const copy = dice.pick(this.#options.copies());
    if (copy === undefined) return;
    facts.sent += 1;
    facts.dropped += 1;
    this.counts.droppedReplies += 1;
    await sendAndDrop(copy.url, letter, afterMs);
  }

  async #echo(letter: Letter, facts: Counted, dice: Dice, laterMs: number | undefined): Promise<void> {
    if (laterMs === undefined) return;
    this.counts.doubledLater += 1;
    await sleep(laterMs, undefined, { signal: this.#options.signal }).catch(() => {});
    await this.#sendUntilAnswered(letter, facts, dice);
  }

  async #sendUntilAnswered(letter: Letter, facts: Counted, dice: Dice): Promise<Answer | undefined> {
    const { copies, signal } = this.#options;
    while (!signal.aborted) {
      const copy = dice.pick(copies());
      if (copy !== undefined) {
        facts.sent += 1;
        const reply = await send(copy, letter);
        if (reply.kind === "answer") {
          facts.answers.push(reply.answer);
          return reply.answer;
        }
        facts.deferred += 1;
      }
      await sleep(dice.between(100, 400));
    }
    return undefined;
  }
}

type Counted = { sent: number; deferred: number; answers: Answer[] };
