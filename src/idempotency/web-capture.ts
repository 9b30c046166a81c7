import type { Clock, Timer } from "../clock.ts";
import type { CapturedResponse } from "./http-policy.ts";
import { concatenated } from "./web-body.ts";
import { readWebHead } from "./web-head.ts";

export interface WebCaptureOptions {
  /** The method of the request. */
  readonly method: string;
  /** The headers that outer layers have set. */
  readonly before: Headers;
  /** A longer body is not kept. */
  readonly maxBodyBytes: number;
  /** Says how long a body may take to count as complete at once. */
  readonly clock: Pick<Clock, "setTimer">;
  /** After how long without anybody who reads on the rest is settled without a reader. */
  readonly abandonAfterMs: number;
  /** Whether it is the framework's answer to an error that the handler threw. */
  readonly isThrown: boolean;
  /** Whether the handler has answered past its `Response`, so that there is nothing to be kept. */
  readonly isUnseen: boolean;
  /** Called once, when a response that is going out turns out to be too long to keep, or without end. */
  readonly onUnkept: (response: CapturedResponse) => void;
  /** Called once, where the response has to go out before it is complete. */
  readonly onBegun: (response: Response) => void;
  /** Called when the reader of what has gone out has cancelled it. */
  readonly onCancelled: () => void;
}

/**
 * Stands between a handler's `Response` and whoever reads it. A body that is complete at once goes out once the answer is
 * settled. Of any other the pieces go out as they are read, a copy is kept, and the end is held until it is let out; where
 * the length was announced, the last piece is held too, since the client takes it for the end.
 *
 * Pieces are read as they are asked for, so that a slow client slows the handler's stream down. Once the client has gone the
 * stream is read to its end here, for the retry.
 */
export class WebCapture {
  /** Resolves when the body has come to its end, or when there is nothing more to come of it. */
  readonly answer: Promise<CapturedResponse>;
  readonly #response: Response;
  readonly #options: WebCaptureOptions;
  readonly #head: ReturnType<typeof readWebHead>;
  readonly #source: ReadableStreamDefaultReader<unknown> | undefined;
  readonly #announcedBytes: number | undefined;
  #resolve!: (response: CapturedResponse) => void;
  /** The body so far; undefined once it can't be kept. */
  #kept: Uint8Array[] | undefined = [];
  #size = 0;
  /** What was read before the response has begun to go out. */
  #early: unknown[] = [];
  /** What completes the announced length: the client must not see it yet. */
  #held: unknown[] = [];
  /** How many pieces have gone out. */
  #sent = 0;
  /** The read that is under way. */
  #reading: Promise<void> | undefined;
  /** What goes out, once it has begun to. */
  #begun: { readonly response: Response; readonly out: ReadableStreamDefaultController<unknown> } | undefined;
  #ended = false;
  /** Why the body has no end. */
  #failure: { readonly reason: unknown } | undefined;
  #clientLeft = false;
  #cancelled = false;
  /** Fires when what has gone out has not been read on for a while. */
  #readerTimer: Timer | undefined;
  #letOut!: () => void;
  readonly #isLetOut: Promise<void>;

  /** @throws TypeError when the body has been read already, or somebody is reading it. */
  constructor(response: Response, options: WebCaptureOptions) {
    if (response.bodyUsed || response.body?.locked) {
      throw new TypeError("The body of the handler's Response has been used already.");
    }
    this.#response = response;
    this.#options = options;
    this.#head = readWebHead(response, options.before);
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#isLetOut = new Promise((resolve) => {
      this.#letOut = resolve;
    });
    const { body, headers, status } = response;
    // A switch of protocols and `Response.error()` are no answers that could be given again.
    if (options.isUnseen || status < 200) this.#kept = undefined;
    if (body === null || options.method === "HEAD") {
      this.#end();
      return;
    }
    this.#source = body.getReader();
    const announced = headers.get("content-length") ?? "";
    if (/^\d+$/.test(announced)) this.#announcedBytes = Number(announced);
    if (/^\s*text\/event-stream\b/i.test(headers.get("content-type") ?? "")) this.#unkeep();
    void this.#readAtOnce();
  }

  /** Whether the response has gone out before it was complete: it can't be taken back. */
  get begun(): boolean {
    return this.#begun !== undefined;
  }

  /** Lets out what is held. */
  release(): Response {
    this.#letOut();
    if (this.#begun !== undefined) return this.#begun.response;
    if (this.#source === undefined) return this.#response;
    const headers = new Headers(this.#response.headers);
    // Servers announce the length of bytes, which must not stand beside the framing of a stream.
    headers.delete("transfer-encoding");
    return this.#responseOver(concatenated([...this.#early, ...this.#held] as Uint8Array[]), headers);
  }

  /** The client is gone: what is still to come is read for the retry. */
  clientLeft(): void {
    this.#clientLeft = true;
    void this.#readForRetry();
  }

  /** Gives up waiting for the end: what is there is not the whole of it. */
  cutOff(): void {
    if (this.#ended) return;
    const reason = new Error("The client left, and the body of the response did not come to its end.");
    this.#source?.cancel(reason).catch(() => {});
    this.#fail(reason);
  }

  /** Reads until the body is complete, or takes its time. */
  async #readAtOnce(): Promise<void> {
    let isLate = false;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      timer = this.#options.clock.setTimer(0, () => {
        isLate = true;
        resolve();
      });
    });
    while (!this.#ended && this.#kept !== undefined && !isLate) await Promise.race([this.#read(), late]);
    timer?.clear();
    if (!this.#ended) this.#begin();
  }

  #begin(): void {
    if (this.#begun !== undefined) return;
    let out!: ReadableStreamDefaultController<unknown>;
    const body = new ReadableStream<unknown>(
      {
        start(controller) {
          out = controller;
        },
        pull: (controller) => this.#pull(controller),
        cancel: (reason) => this.#cancel(reason),
      },
      // Nothing is read before it is asked for.
      { highWaterMark: 0 },
    );
    for (const piece of this.#early.splice(0)) out.enqueue(piece);
    this.#begun = { response: this.#responseOver(body), out };
    this.#options.onBegun(this.#begun.response);
    this.#awaitReader();
    if (this.#clientLeft) void this.#readForRetry();
  }

  #responseOver(body: ReadableStream | Uint8Array, headers = new Headers(this.#response.headers)): Response {
    const { status, statusText } = this.#response;
    return new Response(body as Uint8Array<ArrayBuffer>, { status, statusText, headers });
  }

  /** Somebody waits for a piece, or for the end. */
  async #pull(out: ReadableStreamDefaultController<unknown>): Promise<void> {
    this.#readerTimer?.clear();
    const sent = this.#sent;
    while (!this.#ended && this.#sent === sent) await this.#read();
    if (this.#sent !== sent) return this.#awaitReader();
    await this.#isLetOut;
    if (this.#cancelled) return;
    if (this.#failure !== undefined) return out.error(this.#failure.reason);
    for (const piece of this.#held.splice(0)) out.enqueue(piece);
    out.close();
  }

  /** Somebody has what there is, and may ask for more; or has dropped it, and says so to nobody. */
  #awaitReader(): void {
    if (this.#ended) return;
    const { clock, abandonAfterMs } = this.#options;
    this.#readerTimer?.clear();
    this.#readerTimer = clock.setTimer(abandonAfterMs, () => void this.#onUnread(), { ref: false });
  }

  /** Nobody has asked for more for `abandonAfterMs`: what is still to come is settled without a reader. */
  async #onUnread(): Promise<void> {
    const { clock, abandonAfterMs } = this.#options;
    if (this.#kept !== undefined) {
      this.#readerTimer = clock.setTimer(abandonAfterMs, () => this.cutOff(), { ref: false });
      await this.#readForRetry();
      this.#readerTimer.clear();
    }
    // One that can't be kept is settled already; should its reader come back, it goes on.
    if (!this.#ended) this.#resolve(this.#captured());
  }

  #cancel(reason: unknown): void {
    this.#readerTimer?.clear();
    this.#cancelled = true;
    this.#options.onCancelled();
    if (this.#kept === undefined) return this.#abandonSource(reason);
    void this.#readForRetry();
  }

  async #readForRetry(): Promise<void> {
    while (!this.#ended && this.#kept !== undefined && this.#begun !== undefined) await this.#read();
    if (this.#cancelled && this.#kept === undefined) this.#abandonSource(undefined);
  }

  /** Nobody reads it any more, and it can't be kept: its handler learns what it would learn without the layer. */
  #abandonSource(reason: unknown): void {
    if (this.#ended) return;
    this.#source?.cancel(reason).catch(() => {});
    this.#end();
  }

  /** Reads one piece, or the end; whoever asks meanwhile waits for the same one. Never rejects. */
  #read(): Promise<void> {
    this.#reading ??= this.#readPiece().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readPiece(): Promise<void> {
    let read: { readonly done: boolean; readonly value?: unknown };
    try {
      read = await (this.#source as ReadableStreamDefaultReader<unknown>).read();
    } catch (error) {
      if (!this.#ended) this.#fail(error);
      return;
    }
    if (this.#ended) return;
    if (read.done) return this.#end();
    const piece = typeof read.value === "string" ? new TextEncoder().encode(read.value) : read.value;
    this.#keep(piece);
    this.#pass(piece);
  }

  #pass(piece: unknown): void {
    if (this.#cancelled) return;
    if (this.#announcedBytes !== undefined && this.#size >= this.#announcedBytes) {
      this.#held.push(piece);
    } else if (this.#begun === undefined) {
      this.#early.push(piece);
    } else {
      this.#sent += 1;
      this.#begun.out.enqueue(piece);
    }
  }

  #keep(piece: unknown): void {
    // The standard knows only bytes; what servers make of anything else is theirs to say.
    if (!(piece instanceof Uint8Array)) return this.#unkeep();
    this.#size += piece.byteLength;
    if (this.#size > this.#options.maxBodyBytes) this.#unkeep();
    // A copy: whoever gets the piece may use its memory again.
    this.#kept?.push(new Uint8Array(piece));
  }

  #unkeep(): void {
    if (this.#kept === undefined) return;
    this.#kept = undefined;
    this.#options.onUnkept(this.#captured());
  }

  #end(): void {
    this.#readerTimer?.clear();
    // A body of another length than was announced reaches nobody as it is: a replay must not make it look right.
    if (this.#announcedBytes !== undefined && this.#announcedBytes !== this.#size) this.#kept = undefined;
    this.#ended = true;
    this.#resolve(this.#captured());
  }

  #fail(reason: unknown): void {
    this.#readerTimer?.clear();
    this.#kept = undefined;
    this.#failure = { reason };
    this.#ended = true;
    this.#begin();
    this.#resolve(this.#captured());
  }

  #captured(): CapturedResponse {
    const isThrown = this.#options.isThrown || this.#response.type === "error";
    const body = this.#kept === undefined ? undefined : concatenated(this.#kept);
    return { ...this.#head, isRefused: false, isThrown, body };
  }
}
