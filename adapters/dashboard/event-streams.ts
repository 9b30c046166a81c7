import type { Timer } from "../../src/clock.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import type { DashboardHello } from "./dashboard-update.ts";
import { EventStream, eventText } from "./event-stream.ts";
import type { Sampler } from "./sampler.ts";
import type { WindowQuery } from "./window-query.ts";

/** A page that hears nothing for three of them takes its stream for lost. */
const BEAT_MS = 5_000;
/** Who reads nothing for so long is not there any more, and takes the place of somebody who is. */
const UNREAD_MS = 60_000;

/** The streams of all pages that are open. */
export class EventStreams {
  readonly #settings: DashboardSettings;
  readonly #sampler: Sampler;
  readonly #streams = new Map<EventStream, () => void>();
  #timer: Timer | undefined;

  constructor(settings: DashboardSettings, sampler: Sampler) {
    this.#settings = settings;
    this.#sampler = sampler;
  }

  get isFull(): boolean {
    return this.#streams.size >= this.#settings.maxStreams;
  }

  /** @param signal - aborted when whoever asked has left, where the runtime says so by that. */
  open(query: WindowQuery, signal: AbortSignal): ReadableStream<Uint8Array> {
    const { clock, title, actions, notes, intervalMs } = this.#settings;
    const hello: DashboardHello = { title, actions, notes, intervalMs, history: this.#sampler.history() };
    const stream = new EventStream(clock, eventText("hello", JSON.stringify(hello)), () => this.#forget(stream));
    const unwatch = this.#sampler.watch({
      query,
      tell: (update) => stream.tell(eventText("update", update)),
    });
    const onAbort = (): void => this.#end(stream);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#streams.set(stream, () => {
      signal.removeEventListener("abort", onAbort);
      unwatch();
    });
    this.#timer ??= clock.setTimer(BEAT_MS, () => this.#beat(), { ref: false });
    if (signal.aborted) this.#end(stream);
    return stream.body;
  }

  close(): void {
    for (const stream of [...this.#streams.keys()]) this.#end(stream);
  }

  #beat(): void {
    for (const stream of [...this.#streams.keys()]) {
      if (stream.unreadMs() < UNREAD_MS) stream.beat();
      else {
        stream.abandon();
        this.#forget(stream);
      }
    }
    this.#timer = undefined;
    if (this.#streams.size > 0)
      this.#timer = this.#settings.clock.setTimer(BEAT_MS, () => this.#beat(), { ref: false });
  }

  #end(stream: EventStream): void {
    stream.end();
    this.#forget(stream);
  }

  #forget(stream: EventStream): void {
    this.#streams.get(stream)?.();
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    this.#timer?.clear();
    this.#timer = undefined;
  }
}
