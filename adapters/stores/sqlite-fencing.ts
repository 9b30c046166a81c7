import { recordCorrupt } from "../../src/execution-record.ts";
import type { PreparedConnection } from "./sqlite-connection.ts";
import type { SqliteTables } from "./sqlite-schema.ts";

/**
 * Takes the next number of the ledger's one fencing counter, inside the present transaction: the tokens of executions and the
 * epochs of leases. One counter for all, in a table of its own, so that nothing that is deleted takes it along.
 */
export function nextFencingNumber(on: PreparedConnection, { fencing }: SqliteTables): number {
  const next = `UPDATE ${fencing} SET last_token = last_token + 1 WHERE only_row = 1 RETURNING last_token`;
  const row = on.statement(next).get() as { last_token: unknown } | undefined;
  if (!Number.isSafeInteger(row?.last_token)) throw recordCorrupt("the fencing counter is not there");
  return row?.last_token as number;
}
