import type { ExecutionContext } from "evenkeel";
import { idempotency } from "evenkeel/express";
import { sqliteStore } from "evenkeel/sqlite";
import express, { type Request } from "express";

export interface PaymentsOptions {
  /** The SQLite file of the ledger. */
  readonly file: string;
  readonly bankUrl: string;
  /** How long a payment may be silent before a retry takes it over. */
  readonly leaseMs: number;
}

/** Who may pay. A real service would ask its session or its tokens. */
const ACCOUNTS = new Map([
  ["Bearer alice-token", "alice"],
  ["Bearer bob-token", "bob"],
]);

/**
 * The payments service. What evenkeel adds are three lines: the store, the layer after authentication, and the derived key
 * that is given to the bank.
 */
export function payments({ file, bankUrl, leaseMs }: PaymentsOptions): {
  app: express.Express;
  close(): Promise<void>;
} {
  const store = sqliteStore(file);
  const app = express();

  // Authentication comes first: a replay is an answer too, and not for everybody.
  app.use((req, res, next) => {
    if (accountOf(req) === undefined) res.status(401).json({ error: "Who are you?" });
    else next();
  });
  app.use(express.json());
  app.use(idempotency({ store, scope: (req) => accountOf(req) ?? "", required: true, leaseMs }));

  app.post("/payments", async (req, res) => {
    const { amount } = req.body as { amount?: unknown };
    if (!Number.isSafeInteger(amount) || (amount as number) <= 0) {
      // Not a success, so it is not kept: the same key may be used for a corrected payment.
      res.status(400).json({ error: "amount must be a positive whole number of cents" });
      return;
    }
    // Required above, so it is always there.
    const execution = req.idempotency as ExecutionContext;
    const charge = await chargeAt(bankUrl, { account: accountOf(req), amount }, execution.deriveKey("charge"));
    res.status(201).json({ payment: charge.id, amount, attempt: execution.attempt });
  });

  return { app, close: () => store.close() };
}

function accountOf(req: Request): string | undefined {
  return ACCOUNTS.get(req.get("authorization") ?? "");
}

/** The same derived key on every attempt: however often the bank is asked, it charges once. */
async function chargeAt(bankUrl: string, charge: object, idempotencyKey: string): Promise<{ id: string }> {
  const response = await fetch(`${bankUrl}/charges`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": idempotencyKey },
    body: JSON.stringify(charge),
  });
  if (!response.ok) throw new Error(`The bank answered ${response.status}.`);
  return (await response.json()) as { id: string };
}
