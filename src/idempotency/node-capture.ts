import type { ServerResponse } from "node:http";
import { headerOf, isBodiless } from "./http-headers.ts";
import type { CapturedResponse } from "./http-policy.ts";
import {
  applyHeaders,
  type HeaderLines,
  headerLines,
  type ResponseHead,
  readHead,
  restoreHeaders,
  validateHead,
} from "./node-head.ts";
import { headersSent, interpose, type NativeResponse } from "./node-interposition.ts";
import { afterEnd, bytesOf, lengthMismatch, type WriteCallback, withResolvers } from "./node-pieces.ts";
import { NodeSources } from "./node-sources.ts";

export interface CaptureOptions {
  /** The headers that an outer layer has set. */
  readonly before: HeaderLines;
  /** A longer body is not kept. */
  readonly maxBodyBytes: number;
  /** Called once, when a response that is going out turns out to be too long to keep, or without end. */
  readonly onUnkept: (response: CapturedResponse) => void;
}

/**
 * Stands between a handler and its `ServerResponse`, at the level of writeHead, write and end, so that everything built on
 * them is seen: pieces go out as they are written, and a copy is kept; the end is held until it is let out. Where the
 * length was announced, the last piece is held too, since the client takes it for the end.
 *
 * To the handler it looks as if everything had been sent: `headersSent` and `writableEnded` say so, and setting a header
 * throws. Until the first piece goes out nothing has, and another answer can still be given.
 */
export class NodeCapture {
  /** Resolves when the handler has ended its answer, or when there is nothing more to come of it. */
  readonly answer: Promise<CapturedResponse>;
  readonly #res: ServerResponse;
  readonly #options: CaptureOptions;
  readonly #native: NativeResponse;
  readonly #sources: NodeSources;
  /** The headers that were there before the handler. */
  readonly #before: HeaderLines;
  /** The headers that were there when the handler returned, where it is known. */
  #after: HeaderLines | undefined;
  readonly #resolve: (response: CapturedResponse) => void;
  /** Status and headers, once they are decided. */
  #head: ResponseHead | undefined;
  /** The text that goes with the status, where the handler has set one. */
  #reason = "";
  #announcedBytes: number | undefined;
  /** The body so far; undefined once it can't be kept. */
  #kept: Uint8Array[] | undefined = [];
  #size = 0;
  /** What the handler has written and the client must not see yet. */
  #held: Uint8Array[] = [];
  /** Whether something has gone out. */
  #begun = false;
  #ended = false;
  #clientLeft = false;
  /** Whether the handler threw before it had answered. */
  #threw = false;
  /** Whether the response is its own again. */
  #released = false;

  constructor(res: ServerResponse, options: CaptureOptions) {
    const { promise, resolve } = withResolvers<CapturedResponse>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#res = res;
    this.#options = options;
    this.#before = options.before;
    this.#sources = new NodeSources(res, () => this.#breakOff());
    this.#native = interpose(res, {
      writeHead: (args) => this.#writeHead(args),
      write: (chunk, encoding, callback) => this.#write(chunk, encoding, callback),
      end: (chunk, encoding, callback) => this.#end(chunk, encoding, callback),
      flushHeaders: () => this.#flushHeaders(),
      implicitHeader: () => this.#implicitHeader(),
      isHeadVirtual: () => this.#isHeadVirtual,
      isEndVirtual: () => this.#ended && !this.#released,
    });
  }

  /** Whether the handler has ended its answer. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Lets out what is held, and leaves the response to itself. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const held = this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
    this.#held = [];
    if (held === undefined || held.length === 0) this.#native.end();
    else this.#native.end(held);
  }

  /**
   * Drops the handler's answer, so that another can be given.
   * @returns false when it has begun to go out, and nothing is dropped.
   */
  discard(): boolean {
    if (this.#begun) return false;
    this.#released = true;
    this.#held = [];
    this.#head = undefined;
    restoreHeaders(this.#res, this.#before);
    return true;
  }

  /** Ends the response with these bytes, below whatever the handler's own middleware has put on it. */
  end(body: Uint8Array): void {
    this.#native.end(body);
  }

  /** The handler has something sent that comes as a stream. */
  expectStream(): void {
    this.#sources.expect();
  }

  /** The handler has thrown: what the framework answers now is not the handler's. */
  threw(): void {
    if (!this.#ended && !this.#begun) this.#threw = true;
  }

  /** The handler has returned: headers that are set from now on are an outer layer's. */
  returned(): void {
    this.#after = headerLines(this.#res);
  }

  /** The client is gone. What the handler still writes is kept; nothing is sent any more. */
  clientLeft(): void {
    this.#clientLeft = true;
    this.#sources.clientLeft();
  }

  /**
   * Gives up waiting for the end of an answer that had begun: what is there is not the whole of it.
   * @returns false when none had begun.
   */
  cutOff(): boolean {
    if (this.#head === undefined && !this.#sources.mayBeRefused) return false;
    this.#breakOff();
    return true;
  }

  #breakOff(): void {
    if (!this.#ended) this.#settle({ ...this.#captured(), body: undefined });
  }

  #settle(response: CapturedResponse): void {
    this.#sources.stop();
    this.#resolve(response);
  }

  /** Whether the handler believes the head to be sent, and it is not. */
  get #isHeadVirtual(): boolean {
    return this.#head !== undefined && !this.#begun && !this.#released;
  }

  #writeHead(args: unknown[]): ServerResponse {
    if (this.#begun || this.#released) return this.#native.writeHead(...args);
    if (this.#head !== undefined) throw headersSent();
    const [status] = args;
    // Throws what it always throws.
    if (typeof status !== "number" || !(status >= 100 && status < 1_000)) return this.#native.writeHead(...args);
    const reason = typeof args[1] === "string" ? args[1] : undefined;
    const res = this.#res;
    applyHeaders(res, reason === undefined ? (args[1] ?? args[2]) : args[2]);
    res.statusCode = Math.trunc(status);
    if (reason !== undefined) res.statusMessage = reason;
    this.#takeHead();
    return res;
  }

  /** As Node does it: through the response's own method, so that what hooks into that is called. */
  #decideHead(): void {
    if (this.#head === undefined) this.#res.writeHead(this.#res.statusCode);
    if (this.#head === undefined) this.#takeHead();
  }

  #implicitHeader(): void {
    if (!this.#begun && !this.#released) return this.#decideHead();
    const res = this.#res;
    // What the handler has set since then has no effect on an answer of Node either.
    if (this.#head !== undefined) res.statusMessage = this.#reason;
    this.#native.writeHead(this.#head?.status ?? res.statusCode);
  }

  #takeHead(): void {
    const res = this.#res;
    validateHead(res);
    this.#head = readHead(res, this.#before, this.#after);
    this.#reason = res.statusMessage;
    const announced = headerOf(this.#head.headers, "content-length");
    if (announced !== undefined && !res.hasHeader("transfer-encoding")) this.#announcedBytes = Number(announced);
  }

  #write(chunk: unknown, encoding: unknown, callback: unknown): boolean {
    const bytes = bytesOf(chunk, encoding);
    if (this.#released || bytes === undefined) return this.#native.write(chunk, encoding, callback);
    const done = (typeof encoding === "function" ? encoding : callback) as WriteCallback | undefined;
    if (this.#ended) {
      queueMicrotask(() => done?.(afterEnd("ERR_STREAM_WRITE_AFTER_END", "write after end")));
      return false;
    }
    this.#decideHead();
    this.#keep(bytes);
    const completes = this.#announcedBytes !== undefined && this.#size >= this.#announcedBytes;
    if (this.#clientLeft || completes || !this.#hasBody) {
      if (!this.#clientLeft && this.#hasBody) this.#held.push(bytes);
      queueMicrotask(() => done?.());
      return true;
    }
    this.#begin();
    return this.#native.write(bytes, done);
  }

  #end(chunk: unknown, encoding: unknown, callback: unknown): ServerResponse {
    const done = [chunk, encoding, callback].find((arg) => typeof arg === "function") as WriteCallback | undefined;
    const content = typeof chunk === "function" || chunk === null ? undefined : chunk;
    const bytes = content === undefined ? undefined : bytesOf(content, encoding);
    if (this.#released || (content !== undefined && bytes === undefined)) {
      return this.#native.end(chunk, encoding, callback);
    }
    if (this.#ended) {
      queueMicrotask(() =>
        done?.(afterEnd("ERR_STREAM_ALREADY_FINISHED", "Cannot call end after a stream was finished")),
      );
      return this.#res;
    }
    this.#decideHead();
    this.#acceptLength(this.#size + (this.#hasBody ? (bytes?.length ?? 0) : 0));
    this.#ended = true;
    if (bytes !== undefined) {
      this.#keep(bytes);
      if (this.#hasBody) this.#held.push(bytes);
    }
    if (done !== undefined) this.#res.once("finish", () => done());
    this.#settle(this.#captured());
    return this.#res;
  }

  #flushHeaders(): void {
    if (this.#released) return this.#native.flushHeaders();
    this.#decideHead();
    // Without a body to come, the head is the whole answer.
    if (this.#clientLeft || !this.#hasBody || this.#announcedBytes === 0) return;
    this.#begin();
    this.#native.flushHeaders();
  }

  /** A body of another length than was announced reaches nobody as it is: a replay must not make it look right. */
  #acceptLength(size: number): void {
    if (!this.#hasBody || this.#announcedBytes === undefined || this.#announcedBytes === size) return;
    if (this.#res.strictContentLength) throw lengthMismatch(size, this.#announcedBytes);
    this.#kept = undefined;
  }

  get #hasBody(): boolean {
    return this.#res.req?.method !== "HEAD" && !isBodiless(this.#head?.status ?? 200);
  }

  /** From here on the answer goes out. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const type = headerOf(this.#head?.headers ?? [], "content-type") ?? "";
    if (/^\s*text\/event-stream\b/i.test(type)) this.#unkeep();
  }

  #keep(bytes: Uint8Array): void {
    if (!this.#hasBody) return;
    this.#size += bytes.length;
    if (this.#size > this.#options.maxBodyBytes) this.#unkeep();
    this.#kept?.push(bytes);
  }

  #unkeep(): void {
    if (this.#kept === undefined) return;
    this.#kept = undefined;
    // At the end everything is settled at once anyway.
    if (!this.#ended) this.#options.onUnkept(this.#captured());
  }

  #captured(): CapturedResponse {
    const head = this.#head ?? { status: this.#res.statusCode, headers: [], outer: [], removed: [] };
    const isRefused = this.#sources.mayBeRefused && !this.#begun && head.status >= 400;
    return {
      ...head,
      isRefused,
      isThrown: this.#threw,
      body: this.#kept === undefined ? undefined : Buffer.concat(this.#kept),
    };
  }
}
