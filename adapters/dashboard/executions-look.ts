import { digest } from "../../src/digest.ts";
import type { ExecutionView } from "../../src/store.ts";
import type { ExecutionSummary, ExecutionsPart, ExecutionsSummary } from "./dashboard-update.ts";
import { sparedLook } from "./spared-look.ts";
import type { StoreReader } from "./store-reader.ts";
import type { StoreTime } from "./store-time.ts";

const PARTS: readonly ExecutionsPart[] = ["running", "abandoned", "recent"];
/** So many of each are told of. */
const MOST = 50;
/** One more is asked for, which tells whether there are more. */
const ASKED = MOST + 1;

/** Records as the store gave them. */
type ExecutionsFound = Readonly<Record<ExecutionsPart, readonly ExecutionView[]>>;

/** Looks at executions: those that run, those that fell silent, and the last that began. */
export function executionsLook(read: StoreReader, time: StoreTime): () => Promise<ExecutionsFound> {
  const timed = async (send: Parameters<typeof read<ExecutionView[]>>[0]): Promise<readonly ExecutionView[]> => {
    const views = await read(send);
    for (const view of views) {
      const readAt = readAtOf(view);
      if (readAt === undefined) continue;
      time.take(readAt);
      break;
    }
    return views;
  };
  // Records come with their outcomes, which nobody looks at here.
  const recentOnes = sparedLook(
    () => timed((store, call) => store.executions.recent({ limit: ASKED }, call)),
    (views) => views.reduce((sum, view) => sum + (view.status === "completed" ? view.outcome.bytes.byteLength : 0), 0),
  );
  return async () => {
    const [running, abandoned, recent] = await Promise.all([
      timed((store, call) => store.executions.list({ status: "running", limit: ASKED }, call)),
      timed((store, call) => store.executions.list({ status: "abandoned", limit: ASKED }, call)),
      recentOnes(),
    ]);
    return { running, abandoned, recent };
  };
}

/** What a page is told of them. */
export function executionsOf(found: ExecutionsFound, time: StoreTime): ExecutionsSummary {
  const shown = (part: ExecutionsPart): ExecutionSummary[] =>
    found[part].slice(0, MOST).map((view) => executionSummary(view, time));
  return {
    ...{ running: shown("running"), abandoned: shown("abandoned"), recent: shown("recent") },
    more: PARTS.filter((part) => found[part].length > MOST),
  };
}

/** When a record was read, by the store's clock: so long before it expires. Of one that runs nothing tells it. */
function readAtOf(view: ExecutionView): number | undefined {
  if (view.status === "running") return undefined;
  const expiresAt = (view.status === "completed" ? view.completedAt : view.leaseExpiredAt) + view.retentionMs;
  // A retention may be longer than there are moments.
  return Number.isSafeInteger(expiresAt) ? expiresAt - view.expiresInMs : undefined;
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
