import { randomBytes } from "node:crypto";

/**
 * The source of chance: nonces and jitter. With {@link Clock} and the store it is all that the core takes from the world,
 * so that a run can be repeated from a seed.
 */
export interface Random {
  /** `length` unpredictable bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1). */
  float(): number;
}

/** Asking the system costs more than a nonce's bytes do, so they are fetched for many at a time. */
const POOL_BYTES = 4_096;
let pool: Uint8Array = new Uint8Array(0);

/** Bytes that are given out once. */
function pooledBytes(length: number): Uint8Array {
  if (length > POOL_BYTES) return randomBytes(length);
  if (length > pool.length) pool = randomBytes(POOL_BYTES);
  const taken = pool.slice(0, length);
  pool = pool.subarray(length);
  return taken;
}

/** Cryptographic bytes, and `Math.random` for jitter. */
export const systemRandom: Random = Object.freeze({
  bytes: pooledBytes,
  float: () => Math.random(),
});

/** 128 bits as hex: what names one claim, so that its repetition is recognised. */
export function makeNonce(random: Random): string {
  const bytes = random.bytes(16);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
