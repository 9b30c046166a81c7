import { EvenkeelError } from "../../src/errors.ts";
import { recordCorrupt } from "../../src/execution-record.ts";
import type { CompleteRequest, CompleteResult } from "../../src/store.ts";
import { committedOf, type ExecutionAnswer } from "./postgres-answers.ts";
import type { PostgresConnection } from "./postgres-connection.ts";
import { hasMethods, isPGlite, isPostgresPool, RAW_TYPES } from "./postgres-driver.ts";
import { isUndefinedObject, sqlState } from "./postgres-errors.ts";
import { CORRUPT_RECORD, OTHER_LEDGER, STALE_ATTEMPT } from "./postgres-executions-settling.ts";
import { RAW_TEXTS } from "./postgres-pglite.ts";

/** What of a client of `pg` or a transaction of PGlite is used. */
interface TransactionClient {
  query(query: object): Promise<unknown>;
  query(text: string, values: unknown[], options: object): Promise<unknown>;
  /** `pg`, from 8.18: "T" inside of a transaction. */
  getTransactionStatus?(): string | null;
  /** PGlite. */
  readonly closed?: boolean;
}

const NO_ACTIVE_TRANSACTION = "25P01";

/**
 * Completes inside of the transaction that the user has open on `tx`. What is in the way ends that transaction with an
 * error of the server's, so that it can't be committed any more.
 *
 * Errors of the transaction itself (40001, a connection that broke) pass through as they are: it is the user's.
 *
 * @throws EvenkeelError `INVALID_OPTIONS`.
 */
export async function completeWithin(
  connection: PostgresConnection,
  request: CompleteRequest,
  tx: unknown,
  channel: string | null,
): Promise<CompleteResult> {
  connection.assertOpen();
  const client = acceptClient(tx);
  const { id, token, nonce, outcome, retentionMs } = request;
  const own = { kind: outcome.kind, bytes: Buffer.from(outcome.bytes) };
  const { names, identity } = connection.ledger ?? (await connection.ready());
  await assertInTransaction(client);
  const text = `SELECT ${names.of("complete_within")}($1::text, $2::text::bigint, $3::text, $4::text,
    $5::text::bigint, $6::text, $7::bytea, $8::text)::text AS answer`;
  const values = [id, String(token), nonce, own.kind, String(retentionMs), channel, own.bytes, identity];
  try {
    const [row] = await rowsOf(client, text, values);
    const { answer } = row as { answer: string };
    return { status: "committed", ...committedOf(JSON.parse(answer) as ExecutionAnswer, own) };
  } catch (error) {
    if (sqlState(error) === STALE_ATTEMPT) return staleResult(error as { constraint: string });
    if (sqlState(error) === CORRUPT_RECORD) throw recordCorrupt("one of its columns holds what no version writes");
    if (sqlState(error) === OTHER_LEDGER || isUndefinedObject(error)) {
      // Or the ledger was made anew: the next call looks.
      connection.forgetLedger();
      throw unusable("tx must be a transaction on the store's own database", { cause: error });
    }
    throw error;
  }
}

/** What stands instead, see `complete_within`. */
function staleResult({ constraint }: { constraint: string }): CompleteResult {
  const answer = JSON.parse(constraint) as ExecutionAnswer;
  if (answer.status === "finalized") return { status: "finalized", ...committedOf(answer) };
  return { status: answer.status as "lost" | "missing" };
}

function acceptClient(tx: unknown): TransactionClient {
  const isSource = isPostgresPool(tx) || isPGlite(tx);
  if (isSource || !hasMethods(tx, "query")) {
    throw unusable("tx must be the pg client, or the PGlite transaction, on which the transaction is open");
  }
  return tx as unknown as TransactionClient;
}

/** A completion outside of a transaction would commit by itself, whatever becomes of the business writes. */
async function assertInTransaction(client: TransactionClient): Promise<void> {
  const none = "no transaction is open on tx";
  if (client.closed === true) throw unusable(none);
  // PGlite gives this object to the function of a transaction and to nobody else.
  if (client.closed === false || client.getTransactionStatus?.() === "T") return;
  try {
    // The one statement that has no effect inside of a transaction and is refused outside of one.
    await rowsOf(client, "SAVEPOINT evenkeel");
  } catch (cause) {
    if (sqlState(cause) === NO_ACTIVE_TRANSACTION) throw unusable(none, { cause });
    throw cause;
  }
  await rowsOf(client, "RELEASE SAVEPOINT evenkeel");
}

/** @throws EvenkeelError `INVALID_OPTIONS` when what `tx` answers is not what `pg` answers: rows alone, or nothing. */
async function rowsOf(client: TransactionClient, text: string, values: unknown[] = []): Promise<unknown[]> {
  const result =
    client.closed === undefined
      ? await client.query({ text, values, types: RAW_TYPES })
      : await client.query(text, values, RAW_TEXTS);
  const { rows } = (result ?? {}) as { rows?: unknown };
  if (!Array.isArray(rows)) throw unusable("tx.query() must answer as a client of pg does; pass the client itself");
  return rows;
}

function unusable(what: string, options?: ErrorOptions): EvenkeelError {
  return new EvenkeelError("INVALID_OPTIONS", `ctx.complete: ${what}.`, options);
}
