import { idempotency } from "evenkeel/fastify";
import { sqliteStore } from "evenkeel/sqlite";
import Fastify, { type FastifyRequest } from "fastify";

/** Who may order. A real service would ask its session or its tokens. */
const ACCOUNTS = new Map([
  ["Bearer alice-token", "alice"],
  ["Bearer bob-token", "bob"],
]);

interface Order {
  readonly item: string;
  readonly quantity: number;
}

/** A stand-in for the warehouse's API: one parcel a key, however often it is asked. */
const parcels = new Map<string, Order & { readonly id: string; readonly account: string }>();

const { PORT = "3000", DATABASE = "orders.db" } = process.env;
const store = sqliteStore(DATABASE);
const app = Fastify();

const accountOf = (request: FastifyRequest): string => ACCOUNTS.get(request.headers.authorization ?? "") ?? "";

// Wherever it stands, it comes before the layer: a replay is an answer too, and not for everybody.
app.addHook("onRequest", async (request, reply) => {
  if (accountOf(request) === "") return reply.code(401).send({ error: "Who are you?" });
});

// Awaited, so that it is there before the routes are.
await app.register(idempotency, { store, scope: accountOf });

// What doesn't fit is refused before anything is claimed: the same key may be used for a corrected order.
const schema = {
  body: {
    type: "object",
    required: ["item"],
    properties: { item: { type: "string", minLength: 1 }, quantity: { type: "integer", minimum: 1, default: 1 } },
  },
};

app.post<{ Body: Order }>(
  "/orders",
  { schema, config: { idempotency: { required: true } } },
  async (request, reply) => {
    // The same on every attempt of this request: an order that was interrupted is sent once.
    const key = request.idempotency?.deriveKey("parcel") ?? "";
    const parcel = parcels.get(key) ?? { id: `p${parcels.size + 1}`, account: accountOf(request), ...request.body };
    parcels.set(key, parcel);
    return reply.code(201).header("Location", `/parcels/${parcel.id}`).send(parcel);
  },
);

app.get("/parcels", async (request) => [...parcels.values()].filter(({ account }) => account === accountOf(request)));

// A search changes nothing: it has no use for the layer.
app.post<{ Body: { item: string } }>("/parcels/search", { config: { idempotency: false } }, async (request) =>
  [...parcels.values()].filter(({ account, item }) => account === accountOf(request) && item === request.body.item),
);

const url = await app.listen({ port: Number(PORT), host: "127.0.0.1" });
const asAlice = "-H 'Authorization: Bearer alice-token'";
const once = `-H 'Idempotency-Key: ${Date.now().toString(36)}' -H 'Content-Type: application/json' -d '{"item":"lamp"}'`;
console.log(`Orders listening on ${url}, ledger in ${DATABASE}

  curl -i ${url}/orders ${asAlice} ${once}

Send it twice: the same answer with Idempotent-Replayed: true, and one parcel in curl ${asAlice} ${url}/parcels`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void app.close().then(() => store.close()));
}
