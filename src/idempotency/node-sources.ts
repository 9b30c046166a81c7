import type { ServerResponse } from "node:http";
import type { Readable } from "node:stream";

/** What Node and Express report when what ails a stream is that the client has left. */
const LEAVING: ReadonlySet<unknown> = new Set([
  "ABORT_ERR",
  "ECONNABORTED",
  "ECONNRESET",
  "EPIPE",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_UNABLE_TO_PIPE",
]);

/**
 * The streams that a handler sends into its response. Once the client has left, Node and Express destroy them or don't take
 * them at all, so that an answer which the handler had ready never comes to its end.
 */
export class NodeSources {
  #clientLeft = false;
  /** Whether somebody writes to the response as to a stream, but not by `pipe()`. */
  #isPumped = false;
  #finishListeners = 0;
  #closeListeners = 0;
  readonly #stop: () => void;

  /** @param onTakenAway - called when a source has been taken away because the client had left. */
  constructor(res: ServerResponse, onTakenAway: () => void) {
    const onPipe = (source: Readable): void => {
      // That of `pipe()` itself.
      if (this.#clientLeft) this.#finishListeners -= 1;
      // Destroyed before it was piped: it has nothing to tell any more.
      if (this.#clientLeft && source.closed && isTakenAway(source)) return onTakenAway();
      source.once("close", () => {
        if (this.#clientLeft && isTakenAway(source)) onTakenAway();
      });
    };
    const onUnpipe = (source: Readable): void => {
      if (this.#clientLeft && isTakenAway(source)) onTakenAway();
    };
    const onListener = (name: string | symbol): void => {
      if (name === "drain") this.#isPumped = true;
      if (name === "finish" && this.#clientLeft) this.#finishListeners += 1;
      if (name === "close" && this.#clientLeft) this.#closeListeners += 1;
    };
    res.on("pipe", onPipe);
    res.on("unpipe", onUnpipe);
    res.on("newListener", onListener);
    this.#stop = () => {
      res.off("pipe", onPipe);
      res.off("unpipe", onUnpipe);
      res.off("newListener", onListener);
    };
  }

  /** Whether an error of the handler may be that of a stream which was not taken, the client being gone. */
  get mayBeRefused(): boolean {
    // Who waits for the end of a response that has closed is told an error: so do `pipeline()` and `finished()`.
    return this.#clientLeft && (this.#isPumped || (this.#finishListeners > 0 && this.#closeListeners > 0));
  }

  /** To be called when the handler has something sent that will come as a stream. */
  expect(): void {
    this.#isPumped = true;
  }

  clientLeft(): void {
    this.#clientLeft = true;
  }

  stop(): void {
    this.#stop();
  }
}

/** Whether a source did not come to its end, for no reason of its own. */
function isTakenAway({ readableEnded, errored }: Readable): boolean {
  return !readableEnded && (!errored || LEAVING.has((errored as NodeJS.ErrnoException).code));
}
