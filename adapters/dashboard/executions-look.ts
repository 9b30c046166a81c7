import { digest } from "../../src/digest.ts";
import type { ExecutionView } from "../../src/store.ts";
import type { ExecutionSummary, ExecutionsSummary } from "./dashboard-update.ts";
import { sparedLook } from "./spared-look.ts";
import type { StoreReader } from "./store-reader.ts";
import type { StoreTime } from "./store-time.ts";

const MOST = 50;

/** Looks at executions: those that run, those that fell silent, and the last that began. */
export function executionsLook(read: StoreReader, time: StoreTime): () => Promise<ExecutionsSummary> {
  // Records come with their outcomes, which nobody looks at here.
  const recentOnes = sparedLook(
    () => read((store, call) => store.executions.recent({ limit: MOST }, call)),
    (views) => views.reduce((sum, view) => sum + (view.status === "completed" ? view.outcome.bytes.byteLength : 0), 0),
  );
  const shown = (views: readonly ExecutionView[]): ExecutionSummary[] =>
    views.map((view) => executionSummary(view, time));
  return async () => {
    const [running, abandoned, recent] = await Promise.all([
      read((store, call) => store.executions.list({ status: "running", limit: MOST }, call)),
      read((store, call) => store.executions.list({ status: "abandoned", limit: MOST }, call)),
      recentOnes(),
    ]);
    return { running: shown(running), abandoned: shown(abandoned), recent: shown(recent) };
  };
}

/** What may be seen of a record: neither its key nor what it keeps, and of its scope a digest. */
function executionSummary(view: ExecutionView, time: StoreTime): ExecutionSummary {
  const { id, operation, scope, status, attempt, token } = view;
  return {
    id,
    operation,
    ...(scope === "" ? {} : { scopeHash: digest(scope).slice(0, 16) }),
    status,
    attempt,
    token,
    createdAt: time.local(view.createdAt),
    ...standingOf(view, time),
  };
}

function standingOf(view: ExecutionView, time: StoreTime): Partial<ExecutionSummary> {
  switch (view.status) {
    case "running":
      return { leaseRemainingMs: view.leaseRemainingMs };
    case "abandoned":
      return { leaseExpiredAt: time.local(view.leaseExpiredAt), retryGranted: view.retryGranted };
    case "completed":
      return { completedAt: time.local(view.completedAt), outcome: view.outcome.kind };
  }
}
