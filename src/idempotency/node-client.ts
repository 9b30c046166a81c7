import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** What wants to know of one connection. */
interface Onlooker {
  /** The connection is closed. */
  closed(): void;
  /**
   * Somebody of this process destroys the connection without an error.
   * @returns true when that has to wait.
   */
  destroying(): boolean;
}

/** The onlookers of each connection: one listener on it, however many requests were pipelined. */
const onlookers = new WeakMap<Socket, Set<Onlooker>>();

/** Looks at a connection until the function that this returns is called. */
export function watchConnection(socket: Socket | null | undefined, onlooker: Onlooker): () => void {
  if (!socket) return () => {};
  const watching = onlookers.get(socket) ?? attach(socket);
  watching.add(onlooker);
  return () => {
    if (watching.delete(onlooker) && watching.size === 0) detach(socket);
  };
}

/**
 * Whether a closed connection was closed from this side: the client neither ended it nor reset it, or the response was
 * destroyed with an error.
 */
export function isClosedByServer(req: IncomingMessage, res: ServerResponse): boolean {
  const { socket } = req;
  return Boolean(res.errored) || (!socket?.readableEnded && !socket?.errored);
}

/** Whether nobody is there to take an answer. A response that has no connection of its own yet doesn't know. */
export function isClientGone(req: IncomingMessage, res: ServerResponse): boolean {
  return res.destroyed || Boolean((req.socket as Socket | null | undefined)?.destroyed);
}

/** What has been put on a connection, to be taken off again. */
const attached = new WeakMap<Socket, () => void>();

function attach(socket: Socket): Set<Onlooker> {
  const watching = new Set<Onlooker>();
  onlookers.set(socket, watching);
  const onClose = (): void => {
    for (const onlooker of [...watching]) onlooker.closed();
  };
  const own = Object.getOwnPropertyDescriptor(socket, "destroy");
  const below = socket.destroy;
  function destroy(this: Socket, error?: Error): Socket {
    const isOurs = error === undefined && (socket.destroyed || !socket.readableEnded);
    // Every one is asked, since each may have something to settle.
    if (isOurs && [...watching].map((onlooker) => onlooker.destroying()).includes(true)) return socket;
    return below.call(socket, error);
  }
  socket.on("close", onClose);
  Object.defineProperty(socket, "destroy", { value: destroy, configurable: true, writable: true });
  attached.set(socket, () => {
    socket.off("close", onClose);
    // What somebody else has put on top since calls through to here, and that to what was below.
    if (socket.destroy !== destroy) return;
    if (own === undefined) Reflect.deleteProperty(socket, "destroy");
    else Object.defineProperty(socket, "destroy", own);
  });
  return watching;
}

function detach(socket: Socket): void {
  onlookers.delete(socket);
  attached.get(socket)?.();
  attached.delete(socket);
}
