import {
  compareRecency,
  type Decision,
  decideClaim,
  decideComplete,
  decideRelease,
  decideRenew,
  decideSeize,
  decideStep,
  viewOf,
} from "../execution-record.ts";
import type { ExecutionStore, ExecutionView, StoreCall } from "../store.ts";
import type { KeyedStep } from "./keyed-step.ts";

/** Does `work` in one step of the engine. */
export type InStep = <T>(call: StoreCall, work: (step: KeyedStep) => T) => Promise<T>;

/**
 * The executions of a keyed store: the pure decisions, each in one step. The step comes later than the call, and more than once:
 * what the caller does to its request until then must not get into the ledger, so each operation decides on a copy.
 */
export function keyedExecutions(inStep: InStep, storeKeys: boolean): ExecutionStore {
  return {
    claim(request, call) {
      const { key, ...keyless } = request;
      const own = storeKeys ? { ...request } : keyless;
      return inStep(call, (step) => {
        const stored = step.executions.get(own.id);
        const { nowMs, nextToken } = step;
        const steps = () => stored?.steps ?? [];
        const decision = decideClaim(stored?.record, own, { nowMs, nextToken, steps });
        return carryOut(step, own.id, decision);
      });
    },

    renew(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        return carryOut(step, own.id, decideRenew(step.executions.get(own.id)?.record, own, step.nowMs));
      });
    },

    complete(request, call) {
      const { kind, bytes } = request.outcome;
      const own = { ...request, outcome: { kind, bytes: new Uint8Array(bytes) } };
      return inStep(call, (step) => {
        return carryOut(step, own.id, decideComplete(step.executions.get(own.id)?.record, own, step.nowMs));
      });
    },

    release(request, call) {
      const own = { ...request, as: { ...request.as } };
      return inStep(call, (step) => {
        return carryOut(step, own.id, decideRelease(step.executions.get(own.id)?.record, own, step.nowMs));
      });
    },

    recordStep(request, call) {
      const { kind, bytes } = request.step.outcome;
      const recorded = { ...request.step, outcome: { kind, bytes: new Uint8Array(bytes) } };
      const own = { ...request, step: recorded };
      return inStep(call, (step) => {
        const stored = step.executions.get(own.id);
        const status = decideStep(stored?.record, own, step.nowMs);
        const isNew = stored?.steps.every(({ position }) => position !== recorded.position);
        if (status === "recorded" && stored !== undefined && isNew) {
          step.executions.set({ ...stored, steps: [...stored.steps, recorded] });
        }
        return { status };
      });
    },

    seize(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        return carryOut(step, own.id, decideSeize(step.executions.get(own.id)?.record, own, step));
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

    recent({ limit, operation }, call) {
      return inStep(call, ({ executions, nowMs }) => {
        return executions
          .readable()
          .map(({ record }) => record)
          .filter((record) => record.expiresAt > nowMs && (operation === undefined || record.operation === operation))
          .sort(compareRecency)
          .slice(0, limit)
          .flatMap((record) => viewOf(record, nowMs) ?? []);
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

    countExpired(call) {
      return inStep(call, ({ executions, nowMs }) => {
        return { count: executions.readable().filter(({ record }) => record.expiresAt <= nowMs).length };
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
