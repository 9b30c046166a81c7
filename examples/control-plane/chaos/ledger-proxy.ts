import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/**
 * What becomes of a copy's way to its ledger:
 * - `swallow`: what either side sends is lost, and connections stay open, as behind a broken switch;
 * - `hold`: what either side sends arrives once the cut is over, as TCP sends again what was not confirmed: late writes;
 * - `reset`: connections break, and new ones too.
 */
export type Cut = "swallow" | "hold" | "reset";

/** A way between one copy and the ledger that can be cut. It knows no protocol. */
export interface LedgerProxy {
  /** The same URL, by way of the proxy. */
  url(original: string): string;
  cut(how: Cut): void;
  heal(): void;
  /** How many pieces to the ledger arrived after a cut that were sent before its end. */
  readonly late: number;
  close(): Promise<void>;
}

/** One end of a connection, and what is to be sent to it. */
interface Side {
  readonly socket: Socket;
  readonly held: (Buffer | "end")[];
}

interface Connection {
  readonly copy: Side;
  readonly ledger: Side;
  isLossy: boolean;
}

/** Starts one on a loopback port that the system gives. */
export async function startLedgerProxy(target: { readonly host: string; readonly port: number }): Promise<LedgerProxy> {
  const connections = new Set<Connection>();
  let state: Cut | "open" = "open";
  let late = 0;

  function pass(connection: Connection, to: Side, piece: Buffer | "end"): void {
    if (state === "swallow") connection.isLossy = true;
    else if (state === "hold" || to.held.length > 0) to.held.push(piece);
    else send(to.socket, piece);
  }

  function accept(socket: Socket): void {
    if (state === "reset") return void socket.resetAndDestroy();
    const copy: Side = { socket, held: [] };
    const ledger: Side = { socket: connect({ ...target, allowHalfOpen: true }), held: [] };
    const connection: Connection = { copy, ledger, isLossy: false };
    connections.add(connection);
    for (const [from, to] of [
      [copy, ledger],
      [ledger, copy],
    ] as const) {
      from.socket.setNoDelay(true);
      from.socket.on("data", (piece) => pass(connection, to, piece));
      from.socket.on("end", () => pass(connection, to, "end"));
      // Told by "close".
      from.socket.on("error", () => {});
      from.socket.on("close", () => {
        pass(connection, to, "end");
        if (copy.socket.closed && ledger.socket.closed) connections.delete(connection);
      });
    }
  }

  function reset({ copy, ledger }: Connection): void {
    copy.socket.resetAndDestroy();
    ledger.socket.resetAndDestroy();
  }

  const listener = createServer({ allowHalfOpen: true }, accept).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  return {
    url(original) {
      const url = new URL(original);
      url.hostname = "127.0.0.1";
      url.port = String(port);
      return url.href;
    },
    cut(how) {
      state = how;
      if (how === "reset") for (const connection of connections) reset(connection);
    },
    heal() {
      state = "open";
      for (const connection of connections) {
        // What comes after a gap can't be understood.
        if (connection.isLossy) reset(connection);
        late += connection.ledger.held.filter((piece) => piece !== "end").length;
        for (const { socket, held } of [connection.ledger, connection.copy])
          for (const piece of held.splice(0)) send(socket, piece);
      }
    },
    get late() {
      return late;
    },
    async close() {
      const closed = once(listener, "close");
      listener.close();
      for (const connection of connections) reset(connection);
      await closed;
    },
  };
}

function send(socket: Socket, piece: Buffer | "end"): void {
  if (socket.destroyed || socket.writableEnded) return;
  if (piece === "end") socket.end();
  else socket.write(piece);
}
