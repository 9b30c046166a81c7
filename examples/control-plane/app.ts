import type { LeaderGate, LedgerStore } from "evenkeel";
import { idempotency } from "evenkeel/fastify";
import Fastify, { type FastifyInstance } from "fastify";
import type { Copies } from "./copies.ts";
import type { Groups } from "./groups.ts";
import { answerWithProblems, frameworkProblems } from "./problems.ts";
import { boardRoutes } from "./routes/board.ts";
import { desiredRoutes } from "./routes/desired.ts";
import { heartbeatRoutes } from "./routes/heartbeats.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { resourceRoutes } from "./routes/resources.ts";
import { stateRoutes } from "./routes/state.ts";
import type { Telemetry } from "./telemetry.ts";

export interface AppOptions {
  readonly store: LedgerStore;
  /** The ledger's id. */
  readonly ledger: string;
  readonly groups: Groups;
  readonly copies: Copies;
  readonly telemetry: Telemetry;
  /** This copy's name. */
  readonly copy: string;
  /** The name of the lease of who leads. */
  readonly election: string;
  /** Whether this copy leads. */
  readonly leader: LeaderGate;
  /** Whether the page has buttons. */
  readonly actions: boolean;
  /** How many workers there are at first. */
  readonly desired: number;
}

/** What a copy answers over HTTP. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { store, groups, telemetry } = options;
  const app = Fastify({
    ...frameworkProblems,
    // What is meant is what is sent: "5" is no number, and what is not known is not ignored.
    ajv: { customOptions: { allErrors: true, coerceTypes: false, removeAdditional: false } },
  });
  answerWithProblems(app);
  // Whoever can reach it may do everything: there is nobody to tell apart. Say who it is where there is.
  const scope = () => "";
  await app.register(idempotency, {
    store,
    scope,
    methods: ["POST", "PUT", "DELETE"],
    // Nobody is told what the ledger could not be told: 503, and a retry finds out.
    onCompleteFailure: "throw",
    onEvent: telemetry.onEvent,
  });
  resourceRoutes(app, groups);
  desiredRoutes(app, groups);
  heartbeatRoutes(app, options);
  stateRoutes(app, options);
  metricsRoutes(app, telemetry);
  boardRoutes(app, options);
  return app;
}
