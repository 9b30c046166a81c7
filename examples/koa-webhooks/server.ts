import { createHmac, timingSafeEqual } from "node:crypto";
import type { AddressInfo } from "node:net";
import { bodyParser } from "@koa/bodyparser";
import Router from "@koa/router";
import { idempotency } from "evenkeel/koa";
import { sqliteStore } from "evenkeel/sqlite";
import Koa from "koa";

type State = { provider: string };
type Event = { type: string; account: string; amount: number };

/** Who may deliver events, and the secret that signs them. */
const SECRETS = new Map([
  ["acme", "acme-secret"],
  ["globex", "globex-secret"],
]);
const TOLERANCE_SECONDS = 300;

/** A stand-in for the books: one entry a key, however often it is made. */
const entries = new Map<string, { readonly account: string; readonly amount: number }>();
const accounts = new Set<string>();

const { PORT = "3000", DATABASE = "webhooks.db" } = process.env;
const store = sqliteStore(DATABASE);
const app = new Koa<State>();
const router = new Router<State>();

// Who delivers is known before anything is replayed: a signature over the id, the time and the body, as Standard Webhooks has it.
router.use("/webhooks/:provider", async (ctx, next) => {
  const { provider = "" } = ctx.params;
  const secret = SECRETS.get(provider) ?? ctx.throw(404);
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": given } = ctx.headers;
  const isRecent = Math.abs(Date.now() / 1_000 - Number(timestamp)) < TOLERANCE_SECONDS;
  const signature = signatureOf(secret, `${id}.${timestamp}.${ctx.request.rawBody}`);
  if (!isRecent || !isEqual(String(given), signature)) ctx.throw(401, "not signed by the provider");
  ctx.state.provider = provider;
  await next();
});

// A delivery that is repeated has the same id, and gets the answer that the first one got.
const once = idempotency<State>({ store, header: "Webhook-Id", scope: (ctx) => ctx.state.provider, required: true });

router.post("/webhooks/:provider", once, (ctx) => {
  const { type, account, amount } = ctx.request.body as Event;
  if (type !== "invoice.paid") {
    ctx.status = 204;
    return;
  }
  // Events may come before what they are about. An error is not kept: the provider delivers again, and then it runs.
  if (!accounts.has(account)) ctx.throw(503, { headers: { "Retry-After": "60" } });
  // The same key on every attempt: a delivery that was interrupted is booked once.
  entries.set(ctx.idempotency?.deriveKey("entry") ?? "", { account, amount });
  ctx.body = { account, balance: balanceOf(account) };
});

router.put("/accounts/:account", (ctx) => {
  accounts.add(String(ctx.params["account"]));
  ctx.status = 204;
});
router.get("/accounts/:account", (ctx) => {
  ctx.body = { balance: balanceOf(String(ctx.params["account"])) };
});

function balanceOf(account: string): number {
  return [...entries.values()].reduce((sum, entry) => sum + (entry.account === account ? entry.amount : 0), 0);
}

function signatureOf(secret: string, text: string): string {
  return `v1,${createHmac("sha256", secret).update(text).digest("base64")}`;
}

function isEqual(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

const server = app.use(bodyParser()).use(router.routes()).listen(Number(PORT), "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const [id, time] = [`evt_${Date.now().toString(36)}`, String(Math.floor(Date.now() / 1_000))];
const body = '{"type":"invoice.paid","account":"alice","amount":1000}';
const signed = signatureOf("acme-secret", `${id}.${time}.${body}`);
console.log(`Webhooks listening on ${url}, ledger in ${DATABASE}

  curl -i ${url}/webhooks/acme -H 'Webhook-Id: ${id}' -H 'Webhook-Timestamp: ${time}' -H 'Webhook-Signature: ${signed}' -H 'Content-Type: application/json' -d '${body}'

Deliver it: 503, there is no such account yet. Open it with curl -X PUT ${url}/accounts/alice, and deliver it again, and again:
one entry, and the same answer with Idempotent-Replayed: true. The balance is at curl ${url}/accounts/alice`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    server.close(() => void store.close());
    server.closeAllConnections();
  });
}
