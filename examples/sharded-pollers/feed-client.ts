import { connect } from "node:net";
import type { FeedAnswer, FeedRequest } from "./feed-server.ts";
import { onJsonLines } from "./json-lines.ts";

/** A connection to the server of the feeds. */
export interface FeedClient {
  /** @throws an error once the connection is lost. What was sent may have arrived. */
  ask(request: Omit<FeedRequest, "id">): Promise<FeedAnswer>;
  close(): void;
}

/** Connects to the server on loopback. */
export function connectToFeeds(port: number): FeedClient {
  const waiting = new Map<number, { resolve(answer: FeedAnswer): void; reject(error: Error): void }>();
  let asked = 0;
  const socket = connect(port, "127.0.0.1").setNoDelay();
  onJsonLines<FeedAnswer>(socket, (answer) => {
    waiting.get(answer.id)?.resolve(answer);
    waiting.delete(answer.id);
  });
  socket.on("close", () => {
    for (const { reject } of waiting.values()) reject(lost());
    waiting.clear();
  });
  return {
    ask(request) {
      return new Promise((resolve, reject) => {
        if (!socket.writable) return reject(lost());
        asked += 1;
        waiting.set(asked, { resolve, reject });
        socket.write(`${JSON.stringify({ id: asked, ...request })}\n`);
      });
    },
    close: () => void socket.end(),
  };
}

function lost(): Error {
  return new Error("The connection to the server of the feeds is lost.");
}
