import { assertTransition } from "../resources/resource-state.ts";
import type { RowChange, RowWrite, RowWriteResult } from "../resources/row-writer.ts";
import type { ResourceRow, ResourceState } from "../store.ts";
import { storeOperation } from "../store-operation.ts";
import type { Acting, Verdict } from "./executor-terms.ts";

/** Either the row goes on, or its step ends. */
export type Written =
  | { readonly status: "applied"; readonly row: ResourceRow }
  | { readonly status: "ended"; readonly verdict: Verdict };

/** Makes a row. */
export function make<Spec>(acting: Acting<Spec>, write: Extract<RowWrite, { kind: "create" }>): Promise<Written> {
  return begin(acting, () => send(acting, write.id, undefined, write.state, () => acting.writer.write(write)));
}

/** Changes a row that is as it was read. */
export function change<Spec>(acting: Acting<Spec>, row: ResourceRow, changed: RowChange): Promise<Written> {
  return begin(acting, () => send(acting, row.id, row.state, changed.state, () => acting.writer.update(row, changed)));
}

/** Changes a row whose lease is ours, by what was done under it. Unless the change says otherwise, the lease is given up. */
export function changeHeld<Spec>(acting: Acting<Spec>, row: ResourceRow, changed: RowChange): Promise<Written> {
  return send(acting, row.id, row.state, changed.state, () => acting.writer.updateHeld(row, changed));
}

/** The end of a step by a write, which is `done` unless it is told otherwise. */
export function verdictOf(written: Written, verdict: Verdict = { result: "done" }): Verdict {
  return written.status === "ended" ? written.verdict : { ...verdict, row: written.row };
}

/**
 * The row as the ledger has it now, if it is still as it was read and nobody holds it. A row that was read without a lease is taken
 * as it is: a compare-and-swap finds out as well.
 */
export async function unheld<Spec>({ terms }: Acting<Spec>, row: ResourceRow): Promise<Written> {
  if (row.leaseExpiresAt === undefined) return { status: "applied", row };
  const { store, group, clock, random, storeTimeoutMs } = terms;
  const after = { id: row.id, incarnation: row.incarnation - 1 };
  const [found] = await storeOperation({
    clock,
    random,
    budgetMs: storeTimeoutMs,
    send: (call) => store.resources.list({ group, limit: 1, after }, call),
  });
  if (found?.id !== row.id || found.incarnation !== row.incarnation)
    return { status: "ended", verdict: { result: "lost", isGone: true } };
  const isHeld = found.leaseExpiresAt !== undefined && found.leaseExpiresAt > found.readAt;
  if (isHeld || found.version !== row.version) return { status: "ended", verdict: { result: "lost", row: found } };
  return { status: "applied", row: found };
}

/** What was decided under one leadership is not begun under another. */
async function begin<Spec>({ lasts }: Acting<Spec>, write: () => Promise<Written>): Promise<Written> {
  return lasts() ? write() : { status: "ended", verdict: { result: "fenced" } };
}

async function send<Spec>(
  { terms: { gate } }: Acting<Spec>,
  id: string,
  from: ResourceState | undefined,
  to: ResourceState | undefined,
  write: () => Promise<RowWriteResult>,
): Promise<Written> {
  if (to !== undefined) assertTransition(from, to);
  if (!gate.isAllowed(id)) return { status: "ended", verdict: { result: "fenced" } };
  const result = await write();
  switch (result.status) {
    case "applied":
      return result;
    case "fenced":
      return { status: "ended", verdict: { result: "fenced" } };
    case "conflict": {
      const { row } = result;
      return { status: "ended", verdict: { result: "lost", ...(row === undefined ? { isGone: true } : { row }) } };
    }
  }
}
