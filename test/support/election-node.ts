import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { LeaderElector } from "../../src/index.ts";
import type { LeaseStore } from "../../src/store.ts";
import { type ElectionNews, electionWriter, GROUP, machineTime } from "./election-lines.ts";
import { openLedger } from "./open-ledger.ts";
import { serve } from "./workers.ts";

/**
 * One process of an election: as long as it leads it has effects, and writes to the ledger under its epoch. It logs all that it does.
 * SIGTERM ends it in good order.
 */
const [, , url = "", file = "", node = "", durationsText = ""] = process.argv;

/** How the nodes of an election are set, in milliseconds. */
export interface ElectionDurations {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

/** What a node is asked to do. */
export type NodeRequest =
  /** To begin to compete. */
  | { readonly do: "start" }
  /**
   * To stand still, and its event loop with it, the next time that it has found that it leads and is about to write.
   * - `stopped`: until it was stopped by a signal for as long as a lease, and continued.
   * - otherwise: until there is a file of this name.
   */
  | { readonly do: "hold"; readonly until: "stopped" | { readonly file: string } }
  /** To write to the ledger under this epoch, whether it leads or not. */
  | { readonly do: "write"; readonly epoch: number }
  /** To tell its {@link machineTime}. */
  | { readonly do: "time" };

const ROUND_MS = 20;
const ROUNDS_A_WRITE = 5;
const WRITE_TIMEOUT_MS = 2_000;
/** How long a leader still has something to do once it is told to end. */
const DRAIN_MS = 200;
/** A node that nobody tells to go on does so by itself. */
const LONGEST_HOLD_MS = 60_000;

const durations: ElectionDurations = JSON.parse(durationsText);
const log = electionWriter(file, node);
const ledger = await openLedger(url);
const elector = new LeaderElector({
  store: { ...ledger.store, leases: loggedLeases(ledger.store.leases) },
  name: "election",
  identity: node,
  ...durations,
  async onStartedLeading({ epoch, signal }) {
    log({ what: "started", epoch });
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    await sleep(DRAIN_MS);
    await writing;
    log({ what: "settled", epoch });
  },
  onStoppedLeading: ({ epoch }) => log({ what: "stopped", epoch }),
  onEvent: (event) => {
    if (event.type === "leader_stopped") log({ what: "over", epoch: event.epoch, reason: event.reason });
    if (event.type === "leader_observed") log({ what: "observed", leader: event.leader, epoch: event.epoch });
    if (event.type === "leader_error") log({ what: "error", of: event.of, message: String(event.error) });
  },
});

let rounds = 0;
let writes = 0;
let led = false;
let isEnding = false;
let writing: Promise<unknown> | undefined;
let hold: (NodeRequest & { do: "hold" })["until"] | undefined;

const working = work();
process.once("SIGTERM", async () => {
  await elector.stop();
  isEnding = true;
  await working;
  await ledger.close();
  process.exit(0);
});

serve(async (request: NodeRequest): Promise<unknown> => {
  switch (request.do) {
    case "start":
      return elector.start();
    case "hold":
      hold = request.until;
      return;
    case "write":
      return write(request.epoch);
    case "time":
      return machineTime();
  }
});

async function work(): Promise<void> {
  while (!isEnding) {
    round();
    await sleep(ROUND_MS);
  }
}

function round(): void {
  const at = machineTime();
  const epoch = elector.isLeader() ? elector.epoch : undefined;
  if (epoch === undefined) {
    if (led) log({ what: "follows" });
    led = false;
    return;
  }
  led = true;
  log({ what: "effect", epoch }, at);
  rounds += 1;
  if (writing !== undefined) return;
  const until = hold;
  if (until === undefined && rounds % ROUNDS_A_WRITE !== 0) return;
  if (until !== undefined) {
    hold = undefined;
    standStill(epoch, until);
  }
  writing = write(epoch).finally(() => {
    writing = undefined;
  });
}

/** Blocks the event loop. */
function standStill(epoch: number, until: NonNullable<typeof hold>): void {
  log({ what: "holding", epoch });
  const begun = machineTime();
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  let before = begun;
  for (;;) {
    Atomics.wait(nothing, 0, 0, 1);
    const now = machineTime();
    const goesOn = until === "stopped" ? now - before >= durations.leaseDurationMs : existsSync(until.file);
    if (goesOn || now - begun > LONGEST_HOLD_MS) break;
    before = now;
  }
  log({ what: "resumed", epoch, leads: elector.isLeader() });
}

/** Adds a row, which nothing but the fence of epochs can refuse. Never rejects. */
async function write(epoch: number): Promise<(ElectionNews & { what: "write" })["answer"]> {
  writes += 1;
  const id = `${node}-${writes}`;
  const answer = await apply(epoch, id).catch(() => "unknown" as const);
  log({ what: "write", epoch, id, answer });
  return answer;
}

async function apply(epoch: number, id: string): Promise<"applied" | "conflict" | "fenced"> {
  const row = { id, nonce: id, state: "PROVISIONED", spec: String(epoch), generation: 1, attempt: 1 } as const;
  const applied = await ledger.store.resources.apply(
    { group: GROUP, epoch, writes: [{ kind: "create", after: 0, ...row }] },
    { timeoutMs: WRITE_TIMEOUT_MS },
  );
  if (applied.status === "fenced") return "fenced";
  const [result] = applied.results;
  if (result === undefined) throw new Error("the write was not answered");
  return result.status;
}

function loggedLeases(leases: LeaseStore): LeaseStore {
  const confirm = (epoch: number, sentAt: number, durationMs: number, remainingMs: number): void =>
    log({ what: "confirmed", epoch }, sentAt - (durationMs - remainingMs));
  return {
    async acquire(request, call) {
      const at = machineTime();
      const result = await leases.acquire(request, call);
      if (result.status === "acquired") confirm(result.epoch, at, request.durationMs, result.remainingMs);
      return result;
    },
    async renew(request, call) {
      const at = machineTime();
      const result = await leases.renew(request, call);
      if (result.status === "renewed") confirm(request.epoch, at, request.durationMs, result.remainingMs);
      return result;
    },
    release(request, call) {
      log({ what: "releasing", epoch: request.epoch });
      return leases.release(request, call);
    },
    get: (name, call) => leases.get(name, call),
    list: (prefix, call) => leases.list(prefix, call),
  };
}
