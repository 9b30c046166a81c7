import {
  decideAcquire,
  decideLeaseRelease,
  decideLeaseRenewal,
  type LeaseDecision,
  leaseViewOf,
} from "../lease-record.ts";
import { compareCodePoints } from "../resource-record.ts";
import type { LeaseStore } from "../store.ts";
import type { InStep } from "./keyed-executions.ts";
import type { KeyedStep } from "./keyed-step.ts";

/** The leases of a keyed store: the pure decisions, each in one step, on a copy of the request as it was made. */
export function keyedLeases(inStep: InStep): LeaseStore {
  return {
    acquire(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        const { nowMs, nextToken } = step;
        return carryOut(step, own.name, decideAcquire(step.leases.get(own.name), own, nowMs, nextToken));
      });
    },

    renew(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        return carryOut(step, own.name, decideLeaseRenewal(step.leases.get(own.name), own, step.nowMs));
      });
    },

    release(request, call) {
      const own = { ...request };
      return inStep(call, (step) => {
        return carryOut(step, own.name, decideLeaseRelease(step.leases.get(own.name), own));
      });
    },

    get(name, call) {
      return inStep(call, ({ leases, nowMs }) => leaseViewOf(leases.get(name), nowMs));
    },

    list(prefix, call) {
      return inStep(call, ({ leases, nowMs }) => {
        const views = leases.readable(prefix).flatMap((record) => leaseViewOf(record, nowMs) ?? []);
        return views.sort((a, b) => compareCodePoints(a.name, b.name));
      });
    },
  };
}

function carryOut<Result>({ leases }: KeyedStep, name: string, { result, write }: LeaseDecision<Result>): Result {
  if (write === "delete") leases.delete(name);
  else if (write !== undefined) leases.set(write);
  return result;
}
