import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type Direction = "toServer" | "toClient";

/** A cut that waits for its request. */
export interface ArmedCut {
  /** How many more requests there are until the one whose reply is cut. */
  remaining: number;
  readonly matching: ((request: Buffer) => boolean) | undefined;
  /** Called when the reply was cut. */
  readonly done: () => void;
}

/** What the connections of one proxy share: the faults of the moment, and what was seen. */
export interface ProxyState {
  readonly delayMs: Record<Direction, number>;
  readonly blackHoles: Set<Direction>;
  readonly cuts: Set<ArmedCut>;
  /** Whether the reply that begins to arrive now is to be cut. */
  cutsThisReply: () => boolean;
  counts: ProxyCounts;
}

/** What a proxy has seen since it started or since `resetCounts`. */
export interface ProxyCounts {
  /** Connections that clients opened. */
  connections: number;
  /**
   * Requests and the replies to them. What a connection sends until something comes back is one request, so this counts round
   * trips exactly where a connection has one request in flight, and pipelined requests as one.
   */
  roundTrips: number;
  /** Replies that were cut. */
  cuts: number;
  readonly bytes: Record<Direction, number>;
  readonly chunks: Record<Direction, number>;
}

/** One connection through the proxy: two sockets, and what may go wrong between them. */
export class ProxiedConnection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #state: ProxyState;
  readonly #sent: Record<Direction, Promise<void>> = { toServer: Promise.resolve(), toClient: Promise.resolve() };
  /** A request has been forwarded and nothing has come back yet. */
  #asking = false;
  #cut: ArmedCut | undefined;
  #wasCut = false;
  #lossy = false;

  constructor(client: Socket, server: Socket, state: ProxyState) {
    this.#client = client;
    this.#server = server;
    this.#state = state;
    state.counts.connections += 1;
    client.on("data", (chunk: Buffer) => this.#onRequest(chunk));
    server.on("data", (chunk: Buffer) => this.#onReply(chunk));
    client.on("end", () => this.#send("toServer", undefined));
    server.on("end", () => this.#send("toClient", undefined));
    for (const socket of [client, server]) socket.setNoDelay(true).on("error", () => {});
    client.on("close", () => this.#onClosed("toServer"));
    server.on("close", () => this.#onClosed("toClient"));
  }

  /** Whether bytes were swallowed, so that what comes after them can't be understood. */
  get lossy(): boolean {
    return this.#lossy;
  }

  /** Ends both sides with a TCP reset. */
  reset(): void {
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
  }

  #onRequest(chunk: Buffer): void {
    this.#count("toServer", chunk);
    const begins = !this.#asking;
    this.#asking = true;
    if (begins) this.#state.counts.roundTrips += 1;
    for (const cut of this.#state.cuts) {
      if (!(cut.matching === undefined ? begins : cut.matching(chunk))) continue;
      cut.remaining -= 1;
      if (cut.remaining > 0) continue;
      this.#state.cuts.delete(cut);
      this.#cut = cut;
    }
    this.#send("toServer", chunk);
  }

  #onReply(chunk: Buffer): void {
    this.#count("toClient", chunk);
    const begins = this.#asking;
    this.#asking = false;
    if (this.#cut === undefined && !(begins && this.#state.cutsThisReply())) return this.#send("toClient", chunk);
    this.#state.counts.cuts += 1;
    this.#wasCut = true;
    // Not reset: the server shall work through everything that was forwarded to it.
    this.#server.removeAllListeners("data").resume().end();
    this.#client.resetAndDestroy();
    this.#cut?.done();
  }

  /** Resets the other side, unless it isn't to know: it works on after a cut, and a black hole swallows the news. */
  #onClosed(direction: Direction): void {
    if (this.#state.blackHoles.has(direction)) {
      this.#lossy = true;
      return;
    }
    if (this.#wasCut && direction === "toServer") return;
    void this.#sent[direction].then(() => this.#socket(direction).resetAndDestroy());
  }

  #socket(direction: Direction): Socket {
    return direction === "toServer" ? this.#server : this.#client;
  }

  #count(direction: Direction, chunk: Buffer): void {
    this.#state.counts.chunks[direction] += 1;
    this.#state.counts.bytes[direction] += chunk.length;
  }

  /** Passes bytes on, or the end of them, in the order in which they came. */
  #send(direction: Direction, chunk: Buffer | undefined): void {
    if (this.#state.blackHoles.has(direction)) {
      this.#lossy = true;
      return;
    }
    const socket = this.#socket(direction);
    const deliver = (): void => {
      if (socket.destroyed || socket.writableEnded) return;
      if (chunk === undefined) socket.end();
      else socket.write(chunk);
    };
    const arrived = performance.now();
    const delayMs = this.#state.delayMs[direction];
    this.#sent[direction] = this.#sent[direction].then(async () => {
      const left = arrived + delayMs - performance.now();
      if (delayMs > 0 && left > 0) await sleep(left);
      deliver();
    });
  }
}
