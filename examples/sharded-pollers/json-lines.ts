import type { Socket } from "node:net";
import { createInterface } from "node:readline";

/** Hands on each line of JSON that comes in. Whoever sent them may be killed; the socket then says no more than that it is closed. */
export function onJsonLines<T>(socket: Socket, take: (message: T) => void): void {
  const lines = createInterface({ input: socket });
  lines.on("line", (line) => take(JSON.parse(line) as T));
  // The interface hands on those of the socket.
  lines.on("error", () => {});
  socket.on("error", () => {});
}
