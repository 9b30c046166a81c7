import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { onJsonLines } from "./json-lines.ts";
import { machineTime } from "./poll-log.ts";

/** What a poller sends, as a line of JSON. */
export interface FeedRequest {
  /** Comes back with the answer. */
  readonly id: number;
  /** To read a feed, and then to file what came of it. */
  readonly kind: "read" | "file";
  readonly feed: string;
  readonly shard: number;
  readonly epoch: number;
  readonly poller: string;
}

/** What comes back, as another one. */
export interface FeedAnswer {
  readonly id: number;
  /** When the server decided, by `machineTime`. */
  readonly at: number;
  readonly refused: boolean;
}

/** A stand-in for what is polled and where the result goes: an outside system, which knows nothing of ledgers and leases. */
export interface FeedServer {
  readonly port: number;
  /** What it was asked, in the order in which it came in, and what it answered. */
  readonly requests: readonly (FeedRequest & FeedAnswer)[];
  /** Of these the polls of each feed that were filed. */
  readonly filed: ReadonlyMap<string, readonly (FeedRequest & FeedAnswer)[]>;
  close(): void;
}

/** How long it takes to read a feed, in milliseconds. */
const READING_MS = 200;

/** Serves feeds on loopback. */
export async function startFeedServer(): Promise<FeedServer> {
  const requests: (FeedRequest & FeedAnswer)[] = [];
  const filed = new Map<string, (FeedRequest & FeedAnswer)[]>();
  const pollers = new Set<Socket>();
  const highest = new Map<number, number>();

  /** All that a target has to do for its part: to remember the highest epoch of each shard, and to refuse lower ones. */
  function isStale({ shard, epoch }: FeedRequest): boolean {
    if (epoch < (highest.get(shard) ?? 0)) return true;
    highest.set(shard, epoch);
    return false;
  }

  async function answer(request: FeedRequest, socket: Socket): Promise<void> {
    const made: FeedAnswer = { id: request.id, at: machineTime(), refused: isStale(request) };
    const heard = { ...request, ...made };
    requests.push(heard);
    if (request.kind === "file" && !made.refused) filed.set(request.feed, [...(filed.get(request.feed) ?? []), heard]);
    if (request.kind === "read") await sleep(READING_MS);
    if (socket.writable) socket.write(`${JSON.stringify(made)}\n`);
  }

  const server = createServer((socket) => {
    pollers.add(socket.setNoDelay());
    socket.on("close", () => pollers.delete(socket));
    onJsonLines<FeedRequest>(socket, (request) => void answer(request, socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    filed,
    close() {
      server.close();
      for (const socket of pollers) socket.destroy();
    },
  };
}
