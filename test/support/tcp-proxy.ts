import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Direction, ProxiedConnection, type ProxyCounts, type ProxyState } from "./proxied-connection.ts";
import { ended, endLater } from "./server-process.ts";

export type { Direction, ProxyCounts } from "./proxied-connection.ts";

/**
 * A proxy between a client and a server, with faults that are switched on and off while it runs.
 *
 * It knows no protocol. A **request** is what a connection's client sends until something comes back, and the **reply** to it
 * begins with the next bytes from the server. So greetings, authentication and start-up messages are requests as well: connect
 * first and switch a fault on after that, where it shall meet what comes then. Requests that are in flight together on one
 * connection (a pipeline) count as one, and lose their replies together.
 */
export interface TcpProxy {
  readonly port: number;
  /** The same URL with the host and port of the proxy. */
  url(original: string): string;

  /**
   * Forwards the n-th request from now on, of all connections together, waits for the reply, drops it and resets the client's
   * connection: the server has done it, and the client can't know. Requests before it and after it are not touched.
   *
   * @param options `request` is n and defaults to 1; `matching` counts only the chunks of bytes for which it says yes.
   * @returns when the reply was cut; never, when `heal` came first.
   */
  cutReply(options?: { readonly request?: number; readonly matching?: (request: Buffer) => boolean }): Promise<void>;
  /** Cuts this share of all replies from now on, such as 0.01, in the same way. `random` draws from [0, 1). */
  cutReplies(options: { readonly share: number; readonly random: () => number }): void;
  /** Delays what arrives from now on, in milliseconds each way. Defaults to 0 for a way that is not given. */
  delay(delayMs: { readonly [D in Direction]?: number }): void;
  /** Swallows all bytes of one way from now on. Connections stay open, and new ones are made. */
  blackHole(direction: Direction): void;
  /** Resets every open connection (RST to both sides). */
  resetConnections(): void;
  /** Refuses new connections from now on; open ones go on. */
  refuseConnections(): Promise<void>;
  /**
   * Switches every fault off. Connections that lost bytes in a black hole are reset, because what would follow on them can't
   * be understood.
   */
  heal(): Promise<void>;

  /** What was seen since the start or since `resetCounts`. */
  readonly counts: Readonly<ProxyCounts>;
  resetCounts(): void;
  /** Resets every connection and stops to listen. A second call does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts a proxy on a free loopback port before a server.
 *
 * @param target `host` defaults to `127.0.0.1`.
 */
export async function startTcpProxy(target: { readonly port: number; readonly host?: string }): Promise<TcpProxy> {
  const connections = new Set<ProxiedConnection>();
  const state: ProxyState = {
    delayMs: { toServer: 0, toClient: 0 },
    blackHoles: new Set(),
    cuts: new Set(),
    cutsThisReply: () => false,
    counts: noCounts(),
  };
  const accept = (client: Socket): void => {
    const { port, host = "127.0.0.1" } = target;
    const server = connect({ port, host, allowHalfOpen: true });
    const connection = new ProxiedConnection(client, server, state);
    connections.add(connection);
    client.once("close", () => {
      if (server.closed) connections.delete(connection);
      else server.once("close", () => connections.delete(connection));
    });
  };
  let listener: Server | undefined = await listen(0, accept);
  const { port } = listener.address() as { port: number };

  const refuse = async (): Promise<void> => {
    // Its "close" comes after the last connection's; that it refuses is so at once.
    listener?.close();
    listener = undefined;
  };
  const proxy: TcpProxy = {
    port,
    url(original) {
      const url = new URL(original);
      url.hostname = "127.0.0.1";
      url.port = String(port);
      return url.href;
    },
    cutReply({ request = 1, matching } = {}) {
      return new Promise((done) => state.cuts.add({ remaining: request, matching, done }));
    },
    cutReplies({ share, random }) {
      state.cutsThisReply = () => random() < share;
    },
    delay({ toServer = 0, toClient = 0 }) {
      Object.assign(state.delayMs, { toServer, toClient });
    },
    blackHole: (direction) => void state.blackHoles.add(direction),
    resetConnections() {
      for (const connection of connections) connection.reset();
    },
    refuseConnections: refuse,
    async heal() {
      proxy.delay({});
      state.blackHoles.clear();
      state.cuts.clear();
      state.cutsThisReply = () => false;
      for (const connection of connections) if (connection.lossy) connection.reset();
      listener ??= await listen(port, accept);
    },
    get counts() {
      return state.counts;
    },
    resetCounts() {
      state.counts = noCounts();
    },
    async stop() {
      const closed = listener === undefined ? undefined : once(listener, "close");
      await refuse();
      proxy.resetConnections();
      await closed;
      ended(proxy);
    },
  };
  endLater(proxy);
  return proxy;
}

async function listen(port: number, accept: (client: Socket) => void): Promise<Server> {
  const listener = createServer({ allowHalfOpen: true }, accept);
  listener.listen(port, "127.0.0.1");
  await once(listener, "listening");
  return listener;
}

function noCounts(): ProxyCounts {
  return {
    connections: 0,
    roundTrips: 0,
    cuts: 0,
    bytes: { toServer: 0, toClient: 0 },
    chunks: { toServer: 0, toClient: 0 },
  };
}
