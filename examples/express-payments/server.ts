import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { startBank } from "./bank.ts";
import { payments } from "./payments.ts";

const { PORT, BANK_URL, DATABASE = "payments.db", LEASE_MS = "10000" } = process.env;

// Without a bank of its own to talk to, the service brings one.
const bank = BANK_URL === undefined ? await startBank() : undefined;
const service = payments({ file: DATABASE, bankUrl: BANK_URL ?? bank?.url ?? "", leaseMs: Number(LEASE_MS) });
const server = await listen(Number(PORT ?? 3000));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Payments listening on ${url}, ledger in ${DATABASE}`);
if (bank !== undefined) printInvitation();

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);

async function listen(port: number): Promise<Server> {
  try {
    return await new Promise<Server>((resolve, reject) => {
      const listening: Server = service.app.listen(port, "127.0.0.1", (error?: Error) => {
        if (error === undefined) resolve(listening);
        else reject(error);
      });
    });
  } catch (error) {
    // The usual port may be taken by something else; a port that was asked for may not.
    if (PORT === undefined && port !== 0 && (error as NodeJS.ErrnoException).code === "EADDRINUSE") return listen(0);
    throw error;
  }
}

function printInvitation(): void {
  // A key of this start, because the ledger remembers those of earlier ones.
  const key = `order-${Date.now().toString(36)}`;
  const curl = (amount: number): string =>
    [
      `curl -i ${url}/payments -H 'Authorization: Bearer alice-token'`,
      `-H 'Content-Type: application/json' -H 'Idempotency-Key: ${key}' -d '{"amount":${amount}}'`,
    ].join(" ");
  console.log(`
Try, one after the other:

  # 1. A charge: 201
  ${curl(1000)}

  # 2. The same again: the same answer with Idempotent-Replayed: true, and no second charge
  ${curl(1000)}

  # 3. The same key with another amount: 422
  ${curl(2000)}

What the bank charged: curl -s ${bank?.url}/charges
`);
}

function stop(): void {
  server.close();
  server.closeAllConnections();
  bank?.close();
  void service.close();
}
