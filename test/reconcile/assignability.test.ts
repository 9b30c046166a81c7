import type {
  AttemptEventBase,
  Clock,
  CreateResult,
  EvenkeelEvent,
  ExecutionEventBase,
  LeaderGate,
  ObservedResource,
  Random,
  ReconcilerEventBase,
  ReconcilerOptions,
  ResourceRecord,
} from "evenkeel";
import { Reconciler, ResourceLedger } from "evenkeel";
import { memoryStore } from "evenkeel/memory";
import { describe, expect, expectTypeOf, it } from "vitest";

/** Checked by the compiler, with `exactOptionalPropertyTypes`; what is run is the little that can be. */

interface Spec {
  readonly image: string;
}

const store = memoryStore();
const callbacks = { create: async () => {}, terminate: async () => {} };

describe("types", () => {
  it("a reconciler of any spec stands in a list of reconcilers", () => {
    const typed = new Reconciler<Spec>({
      ...callbacks,
      name: "a",
      store,
      surplus: (a, b) => (a.resource.spec?.image ?? "").localeCompare(b.resource.spec?.image ?? ""),
    });
    const all: Reconciler[] = [typed, new Reconciler({ ...callbacks, name: "b", store })];
    expectTypeOf(typed).toExtend<Reconciler>();
    expectTypeOf<Reconciler<Spec>>().not.toEqualTypeOf<Reconciler>();
    expect(all).toHaveLength(2);
  });

  it("a ledger of any spec stands in a list of ledgers", () => {
    const typed = new ResourceLedger<Spec>({ store, group: "a" });
    const all: ResourceLedger[] = [typed, new ResourceLedger({ store, group: "b" })];
    expectTypeOf(typed).toExtend<ResourceLedger>();
    expectTypeOf(typed.get).returns.resolves.toEqualTypeOf<ResourceRecord<Spec> | undefined>();
    expect(all).toHaveLength(2);
  });

  it("undefined is as good as left out", () => {
    const none = undefined;
    const options: ReconcilerOptions<Spec> = {
      name: "a",
      store,
      create: async ({ externalId }) => ({ externalId }),
      terminate: async () => {},
      desired: none,
      observe: none,
      update: none,
      forceTerminate: none,
      staleness: none,
      massGuard: none,
      replacement: none,
      surplus: none,
      maxUnavailable: none,
      allowEmpty: none,
      resyncIntervalMs: none,
      concurrency: none,
      maxActionsPerPass: none,
      terminateGraceMs: none,
      actionTimeoutMs: none,
      observeGraceMs: none,
      storeTimeoutMs: none,
      leader: none,
      shards: none,
      clock: none,
      random: none,
      onEvent: none,
    };
    expect(() => new Reconciler(options)).not.toThrow();
    expect(
      () => new ResourceLedger({ store, group: "a", clock: none, random: none, storeTimeoutMs: none, leaseMs: none }),
    ).not.toThrow();
    expectTypeOf<{ externalId: string | undefined }>().toExtend<CreateResult>();
    expectTypeOf<{
      id: string;
      externalId: string | undefined;
      incarnation: number | undefined;
      lastHeartbeatAt: number | undefined;
      healthy: boolean | undefined;
    }>().toExtend<ObservedResource>();
    expectTypeOf<LeaderGate | undefined>().toExtend<ReconcilerOptions["leader"]>();
    expectTypeOf<Clock | undefined>().toExtend<ReconcilerOptions["clock"]>();
    expectTypeOf<Random | undefined>().toExtend<ReconcilerOptions["random"]>();
  });

  it("the callbacks that may be left out know their resource's spec", () => {
    const options: ReconcilerOptions<Spec> = {
      ...callbacks,
      name: "a",
      store,
      update: async ({ spec }, ctx) => {
        expectTypeOf(spec).toEqualTypeOf<Spec | undefined>();
        expectTypeOf(ctx.idempotencyKey).toBeString();
      },
      forceTerminate: async ({ spec }) => expectTypeOf(spec).toEqualTypeOf<Spec | undefined>() as never,
    };
    expect(options.update).toBeTypeOf("function");
  });

  it("what all events of a kind say has a name", () => {
    type Finished = Extract<EvenkeelEvent, { type: "action_finished" }>;
    expectTypeOf<Finished>().toExtend<ReconcilerEventBase>();
    type Claimed = Extract<EvenkeelEvent, { type: "claimed" }>;
    expectTypeOf<Claimed>().toExtend<AttemptEventBase>();
    expectTypeOf<AttemptEventBase>().toExtend<ExecutionEventBase>();
  });
});
