import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { type Dashboard, dashboard } from "../../../adapters/dashboard/dashboard.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import type { ResourceWrite } from "../../../src/store.ts";
import { CallLog, faultyStore, ManualClock, type PlannedFault } from "../../../src/testing/index.ts";
import { endLater } from "./server-board.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const CALL = { signal: new AbortController().signal, timeoutMs: 30_000 };
/** Each window of these is told in about 300 kB. */
const ROWS = 200;
const ROW_CHARACTERS = 1_500;
const WINDOWS = 60;
const KEPT_BYTES = 4_000_000;

const SECOND_MS = 1_000;
const INTERVAL_MS = 10 * SECOND_MS;

describe("rows that nobody shows any more", () => {
  it("are forgotten when the last who showed them leaves, and asked for anew when somebody comes back", async () => {
    const { board, log } = await boardOfLongRows();
    const stays = await opened(board, "events?group=web&limit=1");
    const before = liveBytes();
    for (let n = 0; n < WINDOWS; n += 1) await (await opened(board, window(n))).cancel();
    expect(liveBytes() - before).toBeLessThan(KEPT_BYTES);
    log.clear();
    const [first, second] = [await opened(board, window(0)), await opened(board, window(0))];
    expect(log.count("resources.list")).toBe(1);
    await first.cancel();
    const third = await opened(board, window(0));
    // Those that somebody else shows are still known.
    expect(log.count("resources.list")).toBe(1);
    for (const stream of [second, third]) await stream.cancel();
    await (await opened(board, window(0))).cancel();
    expect(log.count("resources.list")).toBe(2);
    await stays.cancel();
  });

  it("are forgotten also by a look that was under way when they left", async () => {
    const { board, clock, log } = await boardOfLongRows({
      on: "resources.listGroups",
      nth: 2,
      fault: { delayMs: SECOND_MS },
    });
    const stays = await opened(board, "events");
    const leaves = await opened(board, window(0));
    await clock.advance(INTERVAL_MS);
    await expect.poll(() => log.count("resources.list")).toBe(2);
    await leaves.cancel();
    await clock.advance(SECOND_MS);
    await untilUpdate(stays);
    await opened(board, window(0));
    expect(log.count("resources.list")).toBe(3);
  });

  it("and those of open pages are forgotten with the dashboard", async () => {
    const { board } = await boardOfLongRows();
    const before = liveBytes();
    await Promise.all(Array.from({ length: WINDOWS }, (_, n) => opened(board, window(n))));
    board.close();
    expect(liveBytes() - before).toBeLessThan(KEPT_BYTES);
    expect((await board.fetch(new Request("http://localhost/events"))).status).toBe(503);
  });
});

async function boardOfLongRows(...faults: readonly PlannedFault[]) {
  const clock = new ManualClock();
  const log = new CallLog();
  const inner = memoryStore({ clock });
  const writes = Array.from({ length: ROWS }, (_, n): ResourceWrite => {
    const externalId = `${n} `.padEnd(ROW_CHARACTERS, "x");
    return {
      kind: "create",
      after: 0,
      id: `r-${n}`,
      nonce: `${n}`,
      state: "PROVISIONED",
      generation: 1,
      attempt: 0,
      externalId,
    };
  });
  await inner.resources.apply({ group: "web", epoch: 0, writes }, CALL);
  const store = faultyStore(inner, { faults, clock, onCall: log.onCall });
  const board = dashboard({ store, clock, intervalMs: INTERVAL_MS });
  endLater(() => inner.close());
  endLater(() => board.close());
  return { board, clock, log };
}

/** Each asks for others. */
function window(n: number): string {
  return `events?group=web&limit=${ROWS - n}`;
}

type Stream = ReadableStreamDefaultReader<Uint8Array>;

/** Opens a stream, and reads it up to its first update. */
async function opened(board: Dashboard, path: string): Promise<Stream> {
  const { body } = await board.fetch(new Request(`http://localhost/${path}`));
  if (body === null) throw new Error("there is no stream");
  const stream = body.getReader();
  await untilUpdate(stream);
  return stream;
}

async function untilUpdate(stream: Stream): Promise<void> {
  for (;;) {
    const { done, value } = await stream.read();
    if (done) throw new Error("the stream is over");
    if (Buffer.from(value).includes("event: update")) return;
  }
}

function liveBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
