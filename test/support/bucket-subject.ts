import { type ConformanceSubject, ManualClock, type StoreCapabilities } from "evenkeel/testing";
import { type Bucket, startBucket } from "../../examples/custom-store/bucket.ts";
import { bucketStore } from "../../examples/custom-store/bucket-store.ts";
import { damagedText, keyOf } from "./keyed-ledger.ts";

export const BUCKET_CAPABILITIES: StoreCapabilities = {
  exactTime: true,
  hooks: ["reopen", "stall"],
  damages: {
    ledger: ["truncated"],
    executions: ["newerFormat", "truncated", "missingField", "wrongType", "swapped"],
    leases: ["newerFormat", "truncated", "missingField", "wrongType", "swapped"],
    resources: ["newerFormat", "truncated", "missingField", "wrongType", "swapped"],
    fences: ["newerFormat", "truncated", "missingField", "wrongType", "swapped"],
  },
};

/** The example's store on a bucket of its own. */
export async function bucketSubject(): Promise<ConformanceSubject> {
  const clock = new ManualClock();
  const bucket = await startBucket();
  const reopen = async () => bucketStore(bucket.url, () => clock.now());
  const store = await reopen();
  return {
    store,
    reopen,
    advance: (ms) => clock.advance(ms),
    async corrupt(record, damage) {
      if (record.part === "ledger") {
        bucket.body = bucket.body?.slice(0, 100);
        return { raw: async () => bucket.body };
      }
      const texts = textsOf(bucket);
      texts.set(keyOf(texts, record), damagedText(texts, keyOf(texts, record), damage));
      bucket.body = JSON.stringify([...texts]);
      return { raw: async () => textsOf(bucket).get(keyOf(textsOf(bucket), record)) };
    },
    async stall() {
      const letGo = bucket.hold();
      return async () => letGo();
    },
    async dispose() {
      await store.close();
      await bucket.close();
    },
  };
}

function textsOf(bucket: Bucket): Map<string, string> {
  return new Map(JSON.parse(bucket.body ?? "[]"));
}
