import { appendFileSync } from "node:fs";
import { isEvenkeelError } from "../../src/errors.ts";
import { ResourceLedger } from "../../src/resources/resource-ledger.ts";
import { openLedger } from "./open-ledger.ts";
import { serve } from "./workers.ts";

/** One process of a service: provisions resources on a ledger, and writes each effect to a file that all append to. */
const [, , url = "", effects = "", leaseMs = "30000"] = process.argv;

/** What a worker is asked to do: so many calls for one id at once. */
export interface ProvisionRequest {
  readonly id: string;
  readonly times: number;
  /** How long `create` takes. */
  readonly workMs: number;
  /** Where the process kills itself inside `create`. Defaults to nowhere. */
  readonly dieAt?: "createBegins" | "createDone";
  /** Whether a call that finds another one at work comes back until it has an answer. */
  readonly inProgress: "rejects" | "comesBack";
}

/** What became of the calls of one request. */
export interface ProvisionAnswer {
  readonly results: readonly {
    readonly created: boolean;
    readonly externalId?: string;
    readonly incarnation: number;
  }[];
  /** The codes of the calls that were refused. */
  readonly errors: readonly string[];
}

const { store } = await openLedger(url);
const ledger = new ResourceLedger({ store, group: "workers", leaseMs: Number(leaseMs) });

serve(async ({ id, times, workMs, dieAt, inProgress }: ProvisionRequest): Promise<ProvisionAnswer> => {
  const calls = Array.from({ length: times }, () => provisioned({ id, workMs, dieAt, inProgress }));
  const settled = await Promise.allSettled(calls);
  return {
    results: settled.flatMap((call) => (call.status === "fulfilled" ? [call.value] : [])),
    errors: settled.flatMap((call) => (call.status === "rejected" ? [codeOf(call.reason)] : [])),
  };
});

async function provisioned(
  request: Pick<ProvisionRequest, "id" | "workMs" | "inProgress"> & { dieAt: ProvisionRequest["dieAt"] },
) {
  for (;;) {
    try {
      const { resource, created } = await ledger.provision(request.id, { create: (_, ctx) => create(ctx) });
      const { externalId, incarnation } = resource;
      return { created, incarnation, ...(externalId === undefined ? {} : { externalId }) };
    } catch (error) {
      const isBusy = isEvenkeelError(error) && error.code === "IN_PROGRESS";
      if (!isBusy || request.inProgress === "rejects") throw error;
      await sleep(Math.min(error.retryAfterMs ?? 50, 50));
    }
  }

  async function create(ctx: { idempotencyKey: string; fencingToken: number; attempt: number }) {
    if (request.dieAt === "createBegins") die();
    const { idempotencyKey, fencingToken, attempt } = ctx;
    appendFileSync(effects, `${request.id} ${process.pid} ${attempt} ${fencingToken} ${idempotencyKey}\n`);
    await sleep(request.workMs);
    if (request.dieAt === "createDone") die();
    return { externalId: `vm-of-${process.pid}` };
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function codeOf(error: unknown): string {
  return isEvenkeelError(error) ? error.code : String(error);
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal takes effect at once; nothing after it may.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
}
