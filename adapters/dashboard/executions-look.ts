import { digest } from "../../src/digest.ts";
import type { ExecutionView } from "../../src/store.ts";
import type { ExecutionSummary, ExecutionsSummary } from "./dashboard-update.ts";
import type { StoreReader } from "./store-reader.ts";

const MOST = 50;
/** Records come with their outcomes, which nobody looks at here: after so many bytes of them the next looks leave the recent ones out. */
const BYTES_A_LOOK = 1_048_576;

/** Looks at executions: those that run, those that fell silent, and the last that began. */
export function executionsLook(read: StoreReader): () => Promise<ExecutionsSummary> {
  let recent: readonly ExecutionSummary[] = [];
  let looksLeftOut = 0;
  return async () => {
    const [running, abandoned] = await Promise.all([
      read((store, call) => store.executions.list({ status: "running", limit: MOST }, call)),
      read((store, call) => store.executions.list({ status: "abandoned", limit: MOST }, call)),
    ]);
    if (looksLeftOut > 0) looksLeftOut -= 1;
    else {
      const views = await read((store, call) => store.executions.recent({ limit: MOST }, call));
      recent = views.map(executionSummary);
      looksLeftOut = Math.min(30, Math.floor(outcomeBytes(views) / BYTES_A_LOOK));
    }
    return { running: running.map(executionSummary), abandoned: abandoned.map(executionSummary), recent };
  };
}

/** What may be seen of a record: neither its key nor what it keeps, and of its scope a digest. */
export function executionSummary(view: ExecutionView): ExecutionSummary {
  const { id, operation, scope, attempt, token, createdAt } = view;
  return {
    id,
    operation,
    ...(scope === "" ? {} : { scopeHash: digest(scope).slice(0, 16) }),
    status: view.status,
    attempt,
    token,
    createdAt,
    ...standingOf(view),
  };
}

function standingOf(view: ExecutionView): Partial<ExecutionSummary> {
  switch (view.status) {
    case "running":
      return { leaseRemainingMs: view.leaseRemainingMs };
    case "abandoned":
      return { leaseExpiredAt: view.leaseExpiredAt, retryGranted: view.retryGranted };
    case "completed":
      return { completedAt: view.completedAt, outcome: view.outcome.kind };
  }
}

function outcomeBytes(views: readonly ExecutionView[]): number {
  return views.reduce((sum, view) => sum + (view.status === "completed" ? view.outcome.bytes.byteLength : 0), 0);
}
