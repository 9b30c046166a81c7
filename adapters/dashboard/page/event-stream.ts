import type { DashboardHello, DashboardUpdate } from "../dashboard-update.ts";

/** `lost` is a stream that was cut, was refused, or has fallen silent. */
export type StreamState = "connecting" | "live" | "lost";

/** Who is told what comes. */
export interface StreamListener {
  hello(hello: DashboardHello): void;
  update(update: DashboardUpdate): void;
  state(state: StreamState): void;
}

/** After a refusal, which an EventSource takes for final. */
const AGAIN_AFTER_MS = 2_000;
/** After so much time without a beat, which the server sends every 5 seconds, a stream that is still open is taken for dead. */
const SILENT_MS = 15_000;
const WATCH_EVERY_MS = 1_000;

/** The server's events, of one address at a time; a stream that is lost is opened again for as long as it takes. */
export class EventStream {
  readonly #listener: StreamListener;
  #source: EventSource | undefined;
  #address = "";
  #state: StreamState = "connecting";
  #heardAt = performance.now();
  #again: ReturnType<typeof setTimeout> | undefined;

  constructor(listener: StreamListener) {
    this.#listener = listener;
    setInterval(() => this.#watch(), WATCH_EVERY_MS);
  }

  /** Turns to another address. What was shown of the one before stays until there is news. */
  open(address: string): void {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#address = address;
    this.#heardAt = performance.now();
    const source = new EventSource(address);
    this.#source = source;
    source.addEventListener("hello", ({ data }) => {
      this.#hear();
      this.#listener.hello(JSON.parse(data));
    });
    source.addEventListener("update", ({ data }) => {
      this.#hear();
      this.#listener.update(JSON.parse(data));
    });
    source.addEventListener("beat", () => this.#hear());
    source.addEventListener("error", () => {
      this.#turn("lost");
      // It tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) this.#openAgain();
    });
  }

  /** It lives, also where the ledger is silent. */
  #hear(): void {
    this.#heardAt = performance.now();
    this.#turn("live");
  }

  #openAgain(): void {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.open(this.#address), AGAIN_AFTER_MS);
  }

  #watch(): void {
    if (performance.now() - this.#heardAt < SILENT_MS) return;
    this.#turn("lost");
    this.open(this.#address);
  }

  #turn(state: StreamState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#listener.state(state);
  }
}
