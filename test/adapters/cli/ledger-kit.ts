import { openStore } from "evenkeel/open";
import { afterEach, beforeEach } from "vitest";
import { type Clock, systemClock } from "../../../src/clock.ts";
import type { ClaimRequest, LedgerStore } from "../../../src/store.ts";
import { newFolder } from "../../support/run-folder.ts";
import { type Ran, run } from "./cli-kit.ts";

/** For what a test does to a ledger itself. */
export const CALL = { timeoutMs: 20_000 };

/** The URL of a SQLite file that is not there yet. */
export async function newSqliteUrl(): Promise<string> {
  return `sqlite:${await newFolder("cli")}/ledger.db`;
}

/** A ledger in a SQLite file, a new one for each test, and a command over it. */
export function useLedger(command: string) {
  let url: string;
  let store: LedgerStore;
  beforeEach(async () => {
    url = await newSqliteUrl();
    store = await openStore(url);
  });
  afterEach(() => store.close());
  return {
    /** Those of the test that runs. */
    get url() {
      return url;
    },
    get store() {
      return store;
    },
    /** Runs the command with these words. */
    run: (...argv: readonly string[]): Promise<Ran> => run([command, ...argv, "--store", url]),
  };
}

/** The file of such a URL. */
export function fileOf(url: string): string {
  return url.slice("sqlite:".length);
}

/** A clock that stands in the past by so much, for records that have to be old. */
export function clockBehind(ms: number): Clock {
  return { ...systemClock, now: () => systemClock.now() - ms };
}

/** An id that begins so. */
export function idOf(prefix: string): string {
  return prefix.padEnd(64, "0");
}

/** Claims a record as some process would, and leaves it. */
export async function claim(store: LedgerStore, request: Partial<ClaimRequest> & { readonly id: string }) {
  const claimed = await store.executions.claim(
    {
      ...{ operation: "pay", scope: "", nonce: `nonce of ${request.id}`, leaseMs: 60_000, retentionMs: 86_400_000 },
      ...{ onAbandoned: "takeover", ...request },
    } as ClaimRequest,
    CALL,
  );
  if (claimed.status !== "acquired") throw new Error(`it is ${claimed.status}`);
  return claimed;
}

/** Makes rows of a group that are terminated, as of now by the store's clock. */
export async function terminated(store: LedgerStore, group: string, ids: readonly string[]): Promise<void> {
  const row = { kind: "create", after: 0, state: "TERMINATED", generation: 1, attempt: 0 } as const;
  const writes = ids.map((id) => ({ ...row, id, nonce: id }));
  const { status } = await store.resources.apply({ group, epoch: 1, writes }, CALL);
  if (status !== "decided") throw new Error(`it is ${status}`);
}
