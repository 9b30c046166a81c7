import type { Clock } from "../clock.ts";
import { Stopwatch } from "../clock.ts";
import type { MetricSample } from "../metric-sample.ts";
import type { ResourceState } from "../store.ts";
import type { ActionType, HeldBy } from "./planned.ts";
import type { Verdict } from "./verdict.ts";

const ACTIONS: readonly ActionType[] = [
  "create",
  "terminate",
  "forceTerminate",
  "update",
  "replace",
  "fail",
  "drop",
  "adopt",
];
const RESULTS = ["done", "failed", "fenced"] as const;
const HOLDS: readonly HeldBy[] = [
  "massGuard",
  "unconfirmedEmpty",
  "backoff",
  "budget",
  "paused",
  "notLeader",
  "notOwner",
  "grace",
  "fence",
  "unknown",
];

/** What a pass found, as far as it is measured. */
export interface Measured {
  readonly desired: number;
  readonly states: Readonly<Record<ResourceState, number>>;
  readonly drift: Verdict["drift"];
  readonly converged: boolean;
}

const NOTHING: Measured = {
  desired: 0,
  states: { PENDING: 0, PROVISIONED: 0, FAILED: 0, TERMINATING: 0, TERMINATED: 0 },
  drift: { missing: 0, surplus: 0, stale: 0, outdated: 0 },
  converged: false,
};

/** The metrics of one reconciler. All are there from the beginning, and none is of a single resource. */
export class ReconcilerMetrics {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #actions = new Map<string, number>();
  readonly #held = new Map<HeldBy, number>();
  #fencedWrites = 0;
  #measured = NOTHING;
  /** Since when it is not converged; from the first pass on. */
  #unconverged: Stopwatch | undefined;

  constructor(name: string, clock: Clock) {
    this.#name = name;
    this.#clock = clock;
  }

  acted(action: ActionType, result: (typeof RESULTS)[number]): void {
    const key = `${action}/${result}`;
    this.#actions.set(key, (this.#actions.get(key) ?? 0) + 1);
    if (result === "fenced") this.fenced();
  }

  fenced(): void {
    this.#fencedWrites += 1;
  }

  held(reason: HeldBy, count = 1): void {
    this.#held.set(reason, (this.#held.get(reason) ?? 0) + count);
  }

  measured(measured: Measured): void {
    this.#measured = measured;
    if (measured.converged) this.#unconverged = undefined;
    else this.#unconverged ??= new Stopwatch(this.#clock);
  }

  /** As before the first pass. What was counted stays. */
  forgetMeasured(): void {
    this.#measured = NOTHING;
    this.#unconverged = undefined;
  }

  samples(): MetricSample[] {
    const { desired, states, drift, converged } = this.#measured;
    return [
      this.#gauge("reconciler_desired", "How many resources are desired.", desired),
      ...Object.entries(states).map(([state, count]) =>
        this.#gauge("reconciler_observed", "How many rows the ledger holds, by state.", count, { state }),
      ),
      ...Object.entries(drift).map(([kind, count]) =>
        this.#gauge("reconciler_drift", "How far observed is from desired, by kind.", count, { kind }),
      ),
      this.#gauge("reconciler_converged", "1 if observed equals desired and nothing is left to do.", Number(converged)),
      this.#gauge(
        "reconciler_unconverged_seconds",
        "For how long it has not been converged.",
        (this.#unconverged?.elapsedMs() ?? 0) / 1_000,
      ),
      ...ACTIONS.flatMap((action) =>
        RESULTS.map((result) =>
          this.#counter(
            "reconciler_actions_total",
            "How many actions were taken.",
            this.#actions.get(`${action}/${result}`),
            {
              action,
              result,
            },
          ),
        ),
      ),
      ...HOLDS.map((reason) =>
        this.#counter(
          "reconciler_actions_held_total",
          "How many actions were held, counted once a pass.",
          this.#held.get(reason),
          {
            reason,
          },
        ),
      ),
      this.#counter(
        "reconciler_fenced_writes_total",
        "How many writes were refused for their epoch.",
        this.#fencedWrites,
      ),
    ];
  }

  #gauge(name: string, help: string, value: number, labels: Record<string, string> = {}): MetricSample {
    return { name, kind: "gauge", help, labels: { name: this.#name, ...labels }, value };
  }

  #counter(name: string, help: string, value = 0, labels: Record<string, string> = {}): MetricSample {
    return { name, kind: "counter", help, labels: { name: this.#name, ...labels }, value };
  }
}
