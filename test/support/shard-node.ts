import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fixedThreshold, isEvenkeelError, Reconciler, ShardCoordinator } from "../../src/index.ts";
import type { ActionContext, ResourceRecord } from "../../src/resources/resource.ts";
import type { ApplyRequest, ApplyResult, LedgerStore } from "../../src/store.ts";
import { machineTime } from "./election-lines.ts";
import type { ElectionDurations } from "./election-node.ts";
import { loggedShardLeases } from "./logged-shard-leases.ts";
import { openLedger } from "./open-ledger.ts";
import { folderCallbacks } from "./reconciler-folder.ts";
import { KEYS, SHARDS, SLOTS, shardWriter, WRITTEN, type WriteAnswer } from "./shard-lines.ts";
import { serve } from "./workers.ts";

/**
 * One process of a division: has effects on the keys that are its own, writes to the ledger under their shards, and reconciles the slots
 * that are its own with a folder for the outside world. It logs all that it does. SIGTERM ends it in good order.
 */
const [, , url = "", file = "", node = "", world = "", settingsText = ""] = process.argv;

/** How the processes of a division are set, in milliseconds. */
export interface ShardNodeSettings extends ElectionDurations {
  readonly actionTimeoutMs: number;
}

/** What a process is asked to do. */
export type ShardNodeRequest =
  /** To begin to take part. */
  | { readonly do: "start" }
  /**
   * To stand still, and its event loop with it, the next time that the reconciler has decided to write and is about to. Then it adds
   * `b-late`, if it is b, to `WRITTEN` under the same shard besides.
   * - `stopped`: until it was stopped by a signal for as long as a lease, and continued.
   * - otherwise: until there is a file of this name.
   */
  | { readonly do: "hold"; readonly until: "stopped" | { readonly file: string } }
  /** To write to `WRITTEN` under this epoch, whether it holds the shard or not. */
  | { readonly do: "write"; readonly shard: number; readonly epoch: number }
  /** To tell how many writes its reconciler says that were refused. */
  | { readonly do: "fenced" };

const ROUND_MS = 50;
const EFFECT_MS = 20;
const EFFECTS_A_RUN = 2;
const RUNS_A_WRITE = 8;
const WRITE_TIMEOUT_MS = 3_000;
/** What else had waited comes first. */
const LATE_WRITE_TIMEOUT_MS = 20_000;
/** What is still under way when it is told to leave. */
const LAST_EFFECTS = 15;
const CREATE_MS = 30;
/** A process that nobody tells to go on does so by itself. */
const LONGEST_HOLD_MS = 60_000;

const settings: ShardNodeSettings = JSON.parse(settingsText);
const { actionTimeoutMs, ...durations } = settings;
const log = shardWriter(file, node);
const ledger = await openLedger(url);
const held = new Map<number, number>();
const shards = new ShardCoordinator({
  store: { ...ledger.store, leases: loggedShardLeases(ledger.store.leases, log) },
  name: "keys",
  member: node,
  shards: SHARDS,
  ...durations,
  onAssigned(shard, epoch, { signal }) {
    held.set(shard, epoch);
    log({ what: "assigned", shard, epoch });
    const drain = (): void => log({ what: "draining", shard, epoch });
    if (signal.aborted) drain();
    else signal.addEventListener("abort", drain, { once: true });
  },
  onRevoked: (shard) => log({ what: "revoked", shard, epoch: held.get(shard) ?? 0 }),
  onEvent: (event) => {
    if (event.type === "shard_revoked")
      log({ what: "over", shard: event.shard, epoch: event.epoch, reason: event.reason });
    if (event.type === "shard_error") log({ what: "error", of: event.of, message: String(event.error) });
    if (event.type === "membership_refused") log({ what: "error", of: "membership", message: String(event.error) });
  },
});
const outside = folderCallbacks(world, { begin() {}, end() {}, returned() {}, workMs: CREATE_MS });
const reconciler = new Reconciler<number>({
  name: SLOTS,
  store: { ...ledger.store, resources: { ...ledger.store.resources, apply: watchedApply } },
  shards,
  create: (resource, ctx) => called("create", resource, ctx),
  terminate: (resource, ctx) => called("terminate", resource, ctx),
  actionTimeoutMs,
  storeTimeoutMs: actionTimeoutMs,
  resyncIntervalMs: 400,
  // Nothing beats here.
  staleness: fixedThreshold({ staleAfterMs: 600_000 }),
  massGuard: false,
  maxUnavailable: "100%",
});

const raised = new Map<number, number>();
const runs = new Map<string, number>();
let writes = 0;
let isEnding = false;
let hold: (ShardNodeRequest & { do: "hold" })["until"] | undefined;
const busy = new Map<string, Promise<void>>();

const working = work();
process.once("SIGTERM", async () => {
  await reconciler.stop();
  const key = KEYS.find((one) => shards.owns(one));
  if (key !== undefined) void begin(key, LAST_EFFECTS);
  log({ what: "leaving" });
  await shards.stop();
  isEnding = true;
  await working;
  await ledger.close();
  process.exit(0);
});

serve(async (request: ShardNodeRequest): Promise<unknown> => {
  switch (request.do) {
    case "start":
      shards.start();
      reconciler.start();
      return;
    case "hold":
      hold = request.until;
      return;
    case "write":
      return write(request.shard, request.epoch);
    case "fenced": {
      const samples = reconciler.metrics().filter(({ name }) => name === "reconciler_fenced_writes_total");
      return samples.reduce((sum, sample) => sum + ("value" in sample ? sample.value : 0), 0);
    }
  }
});

async function work(): Promise<void> {
  while (!isEnding) {
    for (const key of KEYS) {
      if (!busy.has(key))
        busy.set(
          key,
          begin(key, EFFECTS_A_RUN).finally(() => busy.delete(key)),
        );
    }
    await sleep(ROUND_MS);
  }
  await Promise.all(busy.values());
}

/** Never rejects. */
async function begin(key: string, effects: number): Promise<void> {
  const asked = machineTime();
  if (!shards.owns(key)) return;
  try {
    await shards.run(key, async ({ shard, epoch }) => {
      log({ what: "began", shard, epoch }, asked);
      const run = runs.get(key) ?? 0;
      runs.set(key, run + 1);
      // What was begun goes on while the shard is handed over, and not once it is lost.
      for (let n = 1; n < effects; n += 1) {
        await sleep(EFFECT_MS);
        const at = machineTime();
        if (shards.epochOf(key) !== epoch) break;
        log({ what: "effect", shard, epoch }, at);
      }
      if (run % RUNS_A_WRITE === 0 && shards.epochOf(key) === epoch) await write(shard, epoch);
      log({ what: "settled", shard, epoch });
    });
  } catch (error) {
    if (!isEvenkeelError(error) || error.code !== "NOT_LEADER")
      log({ what: "error", of: "run", message: String(error) });
  }
}

async function called<What extends "create" | "terminate">(
  what: What,
  resource: ResourceRecord<number>,
  ctx: ActionContext,
): Promise<Awaited<ReturnType<(typeof outside)[What]>>> {
  const at = machineTime();
  const { id, incarnation } = resource;
  const of = { shard: shards.shardOf(id), epoch: shards.epochOf(id) ?? 0 };
  log({ what, ...of, id, incarnation, key: ctx.idempotencyKey }, at);
  try {
    return (await outside[what](resource, ctx)) as Awaited<ReturnType<(typeof outside)[What]>>;
  } finally {
    log({ what: "settled", ...of });
  }
}

/** What the reconciler writes. */
async function watchedApply(...args: Parameters<LedgerStore["resources"]["apply"]>): Promise<ApplyResult> {
  const [request] = args;
  const { shard, epoch } = fencesOf(request)[0] ?? {};
  const isHeldBack = hold !== undefined && request.writes.length > 0 && shard !== undefined && epoch !== undefined;
  if (isHeldBack) {
    standStill(shard, epoch, hold as NonNullable<typeof hold>);
    void write(shard, epoch, { id: `${node}-late`, timeoutMs: LATE_WRITE_TIMEOUT_MS });
  }
  const answer = ledger.store.resources.apply(...args);
  if (isHeldBack)
    answer.then(
      (result) => logLate(request, result),
      () => logLate(request, undefined),
    );
  const result = await answer;
  if (result.status === "decided") {
    const refused = new Set(result.fences?.map(({ name }) => name));
    for (const fence of fencesOf(request)) {
      if (refused.has(fence.name) || raised.get(fence.shard) === fence.epoch) continue;
      raised.set(fence.shard, fence.epoch);
      log({ what: "raised", shard: fence.shard, epoch: fence.epoch });
    }
  }
  return result;
}

function logLate(request: ApplyRequest, result: ApplyResult | undefined): void {
  const fences = new Map(fencesOf(request).map((fence) => [fence.name, fence]));
  request.writes.forEach(({ id, fence = "" }, at) => {
    const { shard = -1, epoch = 0 } = fences.get(fence) ?? {};
    const answer = result?.status === "decided" ? result.results[at]?.status : result?.status;
    log({ what: "late", id, shard, epoch, answer: answer ?? "unknown" });
  });
}

function fencesOf({ fences = [] }: ApplyRequest) {
  return fences.map(({ name, epoch }) => ({ name, epoch, shard: Number(name.slice("shard ".length)) }));
}

/** Blocks the event loop. */
function standStill(shard: number, epoch: number, until: NonNullable<typeof hold>): void {
  hold = undefined;
  log({ what: "holding", shard, epoch });
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
  log({ what: "resumed", shard, epoch, holds: shards.epochOf(KEYS[shard] as string) !== undefined });
}

/** Adds a row, which nothing but the fence of the shard can refuse. Never rejects. */
async function write(
  shard: number,
  epoch: number,
  { id, timeoutMs }: { readonly id: string; readonly timeoutMs: number } = nextRow(),
): Promise<WriteAnswer> {
  const fence = `shard ${shard}`;
  const row = { id, nonce: id, state: "PROVISIONED", spec: `${shard} ${epoch}`, generation: 1, attempt: 1 } as const;
  const answer = await ledger.store.resources
    .apply(
      {
        group: WRITTEN,
        epoch: 0,
        fences: [{ name: fence, epoch }],
        writes: [{ kind: "create", after: 0, ...row, fence }],
      },
      { timeoutMs },
    )
    .then(
      (applied) => (applied.status === "decided" ? (applied.results[0]?.status ?? "unknown") : applied.status),
      () => "unknown" as const,
    );
  log({ what: "write", shard, epoch, id, answer });
  return answer;
}

function nextRow() {
  writes += 1;
  return { id: `${node}-${writes}`, timeoutMs: WRITE_TIMEOUT_MS };
}
