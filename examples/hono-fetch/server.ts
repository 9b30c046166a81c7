import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import { executionOf, idempotency } from "evenkeel/fetch";
import { sqliteStore } from "evenkeel/sqlite";
import { type Context, Hono } from "hono";
import { streamText } from "hono/streaming";

type Env = { Variables: { account: string } };

/** Who may order. A real service would ask its session or its tokens. */
const ACCOUNTS = new Map([
  ["Bearer alice-token", "alice"],
  ["Bearer bob-token", "bob"],
]);

/** A stand-in for the warehouse's API: one parcel a key, however often it is asked. */
const parcels = new Map<string, { readonly id: string; readonly account: string; readonly item: string }>();

const { PORT = "3000", DATABASE = "orders.db" } = process.env;
const store = sqliteStore(DATABASE);
const app = new Hono<Env>();

// Authentication comes first: a replay is an answer too, and not for everybody.
app.use(async (c, next) => {
  const account = ACCOUNTS.get(c.req.header("authorization") ?? "");
  if (account === undefined) return c.json({ error: "Who are you?" }, 401);
  c.set("account", account);
  return next();
});
app.use(idempotency({ store, scope: (c: Context<Env>) => c.get("account"), required: true }));

app.post("/orders", async (c) => {
  const { item } = await c.req.json<{ item?: unknown }>();
  // Not a success, so it is not kept: the same key may be used for a corrected order.
  if (typeof item !== "string" || item === "") return c.json({ error: "item must be a text" }, 400);
  const parcel = order(c, item);
  c.header("Location", `/parcels/${parcel.id}`);
  return c.json(parcel, 201);
});

// A stream is kept as it goes by, and replayed whole, also to a client that hung up in the middle.
app.post("/orders/batch", async (c) => {
  const items = (await c.req.text()).split("\n").filter((item) => item !== "");
  return streamText(c, async (stream) => {
    for (const item of items) {
      await stream.writeln(`${item}: ${order(c, item).id}`);
      await sleep(100);
    }
  });
});

app.get("/parcels", (c) => c.json([...parcels.values()].filter(({ account }) => account === c.get("account"))));

/** The derived key is the same on every attempt of a request: an order that was interrupted is sent once. */
function order(c: Context<Env>, item: string): { readonly id: string } {
  // Required above, so it is always there.
  const key = executionOf(c)?.deriveKey(item) ?? "";
  const parcel = parcels.get(key) ?? { id: `p${parcels.size + 1}`, account: c.get("account"), item };
  parcels.set(key, parcel);
  return parcel;
}

const server = createServer(getRequestListener(app.fetch));
await new Promise<void>((resolve) => server.listen(Number(PORT), "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
console.log(`Orders listening on ${url}, ledger in ${DATABASE}

  curl -i ${url}/orders -H 'Authorization: Bearer alice-token' -H 'Idempotency-Key: ${Date.now().toString(36)}' -d '{"item":"lamp"}'

Send it twice: the same answer with Idempotent-Replayed: true, and one parcel in curl -H 'Authorization: Bearer alice-token' ${url}/parcels`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    server.close(() => void store.close());
    server.closeAllConnections();
  });
}
