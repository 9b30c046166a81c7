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

/** Cryptographic bytes, and `Math.random` for jitter. */
export const systemRandom: Random = Object.freeze({
  bytes: (length: number) => randomBytes(length),
  float: () => Math.random(),
});

/** 128 bits as hex: what names one claim, so that its repetition is recognised. */
export function makeNonce(random: Random): string {
  const bytes = random.bytes(16);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
