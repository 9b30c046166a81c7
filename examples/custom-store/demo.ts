import { withIdempotency } from "evenkeel";
import { startBucket } from "./bucket.ts";
import { bucketStore } from "./bucket-store.ts";

/** Two services on one bucket: the second one's call is answered with the first one's outcome. */
const bucket = await startBucket();
let charges = 0;
for (const service of ["first", "second"]) {
  const store = bucketStore(bucket.url);
  const charge = withIdempotency(
    async (order: { amount: number }) => {
      charges += 1;
      return { charged: order.amount, by: service };
    },
    { store, operation: "charge" },
  );
  const { value, replayed } = await charge.run({ amount: 700 }, { key: "order-17" });
  console.log(`The ${service} service: charged ${value.charged} by the ${value.by}, replayed: ${replayed}`);
  await store.close();
}
console.log(`The card was charged ${charges} time${charges === 1 ? "" : "s"}.`);
await bucket.close();
