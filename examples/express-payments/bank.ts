import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** What the bank did: one line a charge, however often it was asked for it. */
export interface Charge {
  readonly id: string;
  readonly account: string;
  readonly amount: number;
  /** How many requests asked for this very charge. */
  requests: number;
}

export interface Bank {
  readonly url: string;
  close(): void;
}

/**
 * A stand-in for the bank: `POST /charges` charges once per `Idempotency-Key`, like the payment APIs that there are.
 * `GET /charges` lists what was charged, and `PUT /delay` says how many milliseconds its answers take: the charge itself
 * happens at once, so that a caller can be killed between the charge and the answer.
 */
export async function startBank(port = 0): Promise<Bank> {
  const charges = new Map<string, Charge>();
  let delayMs = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await jsonOf(request);
    switch (`${request.method} ${request.url}`) {
      case "POST /charges": {
        const key = String(request.headers["idempotency-key"]);
        const { account, amount } = body as { account: string; amount: number };
        const charge = charges.get(key) ?? { id: `ch_${charges.size + 1}`, account, amount, requests: 0 };
        charges.set(key, charge);
        charge.requests += 1;
        setTimeout(() => send(response, 201, { id: charge.id }), delayMs);
        return;
      }
      case "GET /charges":
        return send(response, 200, [...charges.values()]);
      case "PUT /delay":
        delayMs = (body as { ms: number }).ms;
        return send(response, 200, { delayMs });
      default:
        return send(response, 404, {});
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => send(response, 400, {}));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function jsonOf(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text === "" ? undefined : JSON.parse(text);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

// `node --import tsx bank.ts`: a bank in a process of its own.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bank = await startBank(Number(process.env["PORT"] ?? 0));
  console.log(`Bank listening on ${bank.url}`);
  process.once("SIGTERM", () => bank.close());
}
