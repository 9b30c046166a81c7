import { digest } from "../../src/digest.ts";
import { keyHashOf } from "../../src/idempotency/key.ts";
import { shownName } from "../../src/shown-text.ts";
import type { ExecutionView } from "../../src/store.ts";
import { durationText } from "./duration-text.ts";
import { momentText } from "./moment-text.ts";
import { sizeOf } from "./stored-outcome.ts";
import type { Column } from "./table-text.ts";

/** Whether somebody asked to see the key and the scope of this very record. */
export type Reveal = "hashed" | "revealed";

/** A record for programs. Keys and scopes, which may name people, are digests unless they are revealed. */
export function executionJson(view: ExecutionView, reveal: Reveal): Record<string, unknown> {
  const { id, operation, scope, key, status, attempt, token, createdAt, retentionMs, expiresInMs } = view;
  return {
    id,
    operation,
    ...(scope === "" ? {} : { scopeHash: scopeHashOf(scope) }),
    ...(reveal === "revealed" ? { scope, key: key ?? null } : {}),
    ...{ status, attempt, token, createdAt, retentionMs, expiresInMs },
    ...stateJson(view),
  };
}

function stateJson(view: ExecutionView): Record<string, unknown> {
  switch (view.status) {
    case "running":
      return { leaseRemainingMs: view.leaseRemainingMs };
    case "abandoned":
      return { leaseExpiredAt: view.leaseExpiredAt, retryGranted: view.retryGranted };
    case "completed":
      return {
        completedAt: view.completedAt,
        outcome: { kind: view.outcome.kind, sizeBytes: sizeOf(view.outcome) },
      };
  }
}

/** The columns of {@link executionRow}. */
export const EXECUTION_COLUMNS: readonly Column[] = [
  { head: "id" },
  { head: "operation" },
  { head: "scope" },
  { head: "status" },
  { head: "attempt", align: "right" },
  { head: "token", align: "right" },
  { head: "age", align: "right" },
  { head: "lease" },
];

/** A record as a line of a table. Ages are by the clock of this machine. */
export function executionRow(view: ExecutionView, reveal: Reveal, nowMs: number): string[] {
  const { id, operation, scope, attempt, token, createdAt } = view;
  return [
    keyHashOf(id),
    operation,
    reveal === "revealed" ? scope : shownScope(scope),
    statusText(view),
    String(attempt),
    String(token),
    durationText(nowMs - createdAt),
    leaseText(view, nowMs),
  ];
}

/** A record with all that is known of it. */
export function executionFields(
  view: ExecutionView,
  reveal: Reveal,
  nowMs: number,
): Readonly<Record<string, string | undefined>> {
  const { id, operation, scope, key, attempt, token, createdAt, retentionMs, expiresInMs } = view;
  const isRevealed = reveal === "revealed";
  return {
    id,
    operation: shownName(operation),
    scope: isRevealed && scope !== "" ? shownName(scope) : `${shownScope(scope)}${scope === "" ? "" : " (a digest)"}`,
    key: isRevealed ? shownName(key ?? "not kept") : "hidden; see --reveal",
    status: statusText(view),
    attempt: String(attempt),
    token: String(token),
    created: pastText(createdAt, nowMs),
    lease: view.status === "completed" ? undefined : leaseText(view, nowMs),
    completed: view.status === "completed" ? pastText(view.completedAt, nowMs) : undefined,
    outcome: view.status === "completed" ? `${view.outcome.kind}, ${sizeOf(view.outcome)} bytes` : undefined,
    expires: `in ${durationText(expiresInMs)}, with a retention of ${durationText(retentionMs)}`,
  };
}

/** Where a claim stands: how long its lease runs, or since when it has lapsed. */
export function leaseText(view: ExecutionView, nowMs: number): string {
  switch (view.status) {
    case "running":
      return `${durationText(view.leaseRemainingMs)} left`;
    case "abandoned":
      return `lapsed ${durationText(nowMs - view.leaseExpiredAt)} ago`;
    case "completed":
      return "-";
  }
}

/** The status, and whether somebody decided that the next caller runs it. */
export function statusText(view: ExecutionView): string {
  return view.status === "abandoned" && view.retryGranted ? "abandoned, released" : view.status;
}

function pastText(atMs: number, nowMs: number): string {
  return `${momentText(atMs)}, ${durationText(nowMs - atMs)} ago`;
}

function shownScope(scope: string): string {
  return scope === "" ? "-" : scopeHashOf(scope);
}

function scopeHashOf(scope: string): string {
  return keyHashOf(digest(scope));
}
