import {
  type Decision,
  decideClaim,
  decideComplete,
  decideRelease,
  decideRenew,
  decideStep,
  viewOf,
} from "../execution-record.ts";
import type { ExecutionStore, ExecutionView, StoreCall } from "../store.ts";
import type { KeyedStep } from "./keyed-step.ts";

/** Does `work` in one step of the engine. */
export type InStep = <T>(call: StoreCall, work: (step: KeyedStep) => T) => Promise<T>;

/** The executions of a keyed store: the pure decisions, each in one step. */
export function keyedExecutions(inStep: InStep, storeKeys: boolean): ExecutionStore {
  return {
    claim(request, call) {
      const { key, ...keyless } = request;
      return inStep(call, (step) => {
        const stored = step.executions.get(request.id);
        const { nowMs, nextToken } = step;
        const steps = () => stored?.steps ?? [];
        const decision = decideClaim(stored?.record, storeKeys ? request : keyless, { nowMs, nextToken, steps });
        return carryOut(step, request.id, decision);
      });
    },

    renew(request, call) {
      return inStep(call, (step) => {
        return carryOut(step, request.id, decideRenew(step.executions.get(request.id)?.record, request, step.nowMs));
      });
    },

    complete(request, call) {
      // The step comes later, and more than once: what the caller does to the bytes until then must not get into the ledger.
      const { kind, bytes } = request.outcome;
      const own = { ...request, outcome: { kind, bytes: new Uint8Array(bytes) } };
      return inStep(call, (step) => {
        return carryOut(step, own.id, decideComplete(step.executions.get(own.id)?.record, own, step.nowMs));
      });
    },

    release(request, call) {
      return inStep(call, (step) => {
        return carryOut(step, request.id, decideRelease(step.executions.get(request.id)?.record, request, step.nowMs));
      });
    },

    recordStep(request, call) {
      const { kind, bytes } = request.step.outcome;
      const own = { ...request.step, outcome: { kind, bytes: new Uint8Array(bytes) } };
      return inStep(call, (step) => {
        const stored = step.executions.get(request.id);
        const status = decideStep(stored?.record, request, step.nowMs);
        const isNew = stored?.steps.every(({ position }) => position !== own.position);
        if (status === "recorded" && stored !== undefined && isNew) {
          step.executions.set({ ...stored, steps: [...stored.steps, own] });
        }
        return { status };
      });
    },

    get(id, call) {
      return inStep(call, (step) => viewOf(step.executions.get(id)?.record, step.nowMs));
    },

    list({ operation, status, limit, after = "" }, call) {
      return inStep(call, ({ executions, nowMs }) => {
        const found: ExecutionView[] = [];
        for (const id of executions.keys().sort()) {
          if (found.length >= limit) break;
          const seen = id > after ? viewOf(executions.readableAt(id)?.record, nowMs) : undefined;
          if (seen === undefined) continue;
          if (operation !== undefined && seen.operation !== operation) continue;
          if (status !== undefined && seen.status !== status) continue;
          found.push(seen);
        }
        return found;
      });
    },

    purge({ limit }, call) {
      return inStep(call, ({ executions, nowMs }) => {
        const expired = executions.readable().filter(({ record }) => record.expiresAt <= nowMs);
        const purged = expired.slice(0, limit);
        for (const { record } of purged) executions.delete(record.id);
        return { purged: purged.length };
      });
    },
  };
}

function carryOut<Result>(step: KeyedStep, id: string, { result, write, forgetSteps }: Decision<Result>): Result {
  if (write === "delete") step.executions.delete(id);
  else if (write !== undefined) {
    step.executions.set({ record: write, steps: forgetSteps ? [] : (step.executions.get(id)?.steps ?? []) });
  }
  return result;
}
