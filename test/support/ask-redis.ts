import { connect } from "node:net";

/** Any less, and a busy machine passes for one that is down. */
const PATIENCE_MS = 5_000;

/**
 * Asks a Redis or a Sentinel one command, of words without spaces, on a connection of its own, and gives the reply as it came.
 *
 * @throws when there is no answer within `patienceMs`, which defaults to 5 s.
 */
export function askRedis(port: number, command: string, patienceMs = PATIENCE_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let reply = "";
    // One character a byte, so that lengths are those of the protocol.
    socket.setEncoding("latin1").setTimeout(patienceMs, () => socket.destroy(new Error(`no answer from port ${port}`)));
    socket.on("data", (text: string) => {
      reply += text;
      if (endOfReply(reply, 0) === undefined) return;
      resolve(reply);
      socket.destroy();
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`port ${port} closed the connection`)));
    socket.write(`${command}\r\n`);
  });
}

/** Where the reply, or the command, that begins here ends; nothing while some of it is missing. */
export function endOfReply(text: string, from: number): number | undefined {
  const lineEnd = text.indexOf("\r\n", from);
  if (lineEnd < 0) return undefined;
  const count = Number(text.slice(from + 1, lineEnd));
  let end: number | undefined = lineEnd + 2;
  if (text[from] === "$" && count >= 0) end += count + 2;
  if (text[from] === "*") for (let i = 0; i < count && end !== undefined; i += 1) end = endOfReply(text, end);
  return end !== undefined && end <= text.length ? end : undefined;
}
