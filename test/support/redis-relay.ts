import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { endOfReply } from "./ask-redis.ts";

/** Stands between clients and a Redis, and writes down the name of each command that they send. */
export interface RedisRelay {
  readonly port: number;
  readonly url: string;
  /** In the order in which they came, whatever they are: those that a script calls are not sent. */
  readonly commands: string[];
  stop(): Promise<void>;
}

/** Starts a relay on a free port before the Redis that listens on the port given. */
export async function startRedisRelay(redisPort: number): Promise<RedisRelay> {
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  const relay = createServer((client) => {
    const server = connect({ port: redisPort, host: "127.0.0.1" });
    let sent = "";
    client.on("data", (bytes) => {
      // One character a byte, so that lengths are those of the protocol.
      sent += bytes.toString("latin1");
      for (let end = endOfReply(sent, 0); end !== undefined; end = endOfReply(sent, 0)) {
        commands.push(nameOf(sent.slice(0, end)));
        sent = sent.slice(end);
      }
      server.write(bytes);
    });
    server.on("data", (bytes) => client.write(bytes));
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const { port } = relay.address() as { port: number };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    commands,
    async stop() {
      const closed = once(relay, "close");
      relay.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** The first word of a command, which is sent as an array of strings. */
function nameOf(command: string): string {
  const [, , name = command] = command.split("\r\n");
  return name.toUpperCase();
}
