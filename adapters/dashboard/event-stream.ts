import type { Clock } from "../../src/clock.ts";

/** How soon a page that lost its stream opens it again, in milliseconds. */
const RETRY_MS = 2_000;

/**
 * Server-sent events (the HTML standard, section 9.2) to one page. Nothing queues: a page that reads slowly gets the newest event when
 * it reads again.
 */
export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #clock: Clock;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** Said once, before everything else. */
  #first: string;
  #newest: string | undefined;
  #beat: string | undefined;
  /** Somebody waits for the next piece. */
  #isAwaited = false;
  #sentAt: number;

  /** @param onGone - called when whoever reads it has left. */
  constructor(clock: Clock, hello: string, onGone: () => void) {
    this.#clock = clock;
    this.#sentAt = clock.monotonic();
    this.#first = `retry: ${RETRY_MS}\n\n${hello}`;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          this.#isAwaited = true;
          this.#send();
        },
        cancel: () => {
          this.#controller = undefined;
          onGone();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Takes the place of what was not sent yet. */
  tell(event: string): void {
    this.#newest = event;
    this.#send();
  }

  /** What is said where there is nothing else: it keeps the connection open, and the page knows that it is. */
  beat(): void {
    this.#beat = BEAT;
    this.#send();
  }

  /** For how long nobody has read what is there, in milliseconds. */
  unreadMs(): number {
    return this.#isAwaited ? 0 : this.#clock.monotonic() - this.#sentAt;
  }

  /** Ends it. Who has not read what was sent is not waited for. */
  end(): void {
    if (!this.#isAwaited) return this.abandon();
    this.#controller?.close();
    this.#controller = undefined;
  }

  /** Ends it for one who does not read. */
  abandon(): void {
    this.#controller?.error(new Error("The events were not read."));
    this.#controller = undefined;
  }

  #send(): void {
    if (!this.#isAwaited || this.#controller === undefined) return;
    const text = this.#first + (this.#newest ?? this.#beat ?? "");
    if (text === "") return;
    this.#first = "";
    this.#newest = undefined;
    this.#beat = undefined;
    this.#isAwaited = false;
    this.#sentAt = this.#clock.monotonic();
    this.#controller.enqueue(this.#encoder.encode(text));
  }
}

/** The text of an event. */
export function eventText(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}

const BEAT = eventText("beat", "{}");
