import { createHash } from "node:crypto";
import { type Codec, OutcomeTooLarge, taggedJson } from "../codec.ts";
import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { recordCorrupt } from "../execution-record.ts";
import type { OutcomeKind, StoredOutcome } from "../store.ts";

/**
 * What is stored of an outcome: a version byte, a seal of 16 bytes, and what the codec wrote. The seal is a truncated
 * SHA-256 over the record's id, the kind and the bytes, so that a truncated outcome, and one that was moved to another
 * record, are found out. It guards against accidents and not against whoever can write to the ledger.
 */
const VERSION = 1;
const SEAL_BYTES = 16;
const HEADER_BYTES = 1 + SEAL_BYTES;

/** Longer messages of stored errors are cut, between two characters. */
const LONGEST_MESSAGE_BYTES = 1_024;
/** A longer chain of causes is cut. */
const MOST_CAUSES = 8;

const EMPTY = new Uint8Array(0);

/** An outcome on its way into the ledger, and what its replay will be. */
export type EncodedOutcome =
  | { readonly outcome: StoredOutcome; readonly replay: Settled }
  /** It can't be stored, for this reason: there will be no replay. */
  | { readonly outcome: StoredOutcome; readonly tombstone: "not_encodable" | "too_large" };

/** What an execution came to: the function's value, or what it threw. */
export type Settled<O = unknown> =
  | { readonly ok: true; readonly value: O }
  | { readonly ok: false; readonly error: unknown };

/** Encodes outcomes for one operation. */
export interface OutcomeCodec {
  /** A value that can't be encoded, or is larger than the bound, becomes a tombstone. Never throws. */
  encodeValue(id: string, value: unknown): EncodedOutcome;
  /** Name, message (at most 1,024 bytes of UTF-8), code and causes of an error; any other thrown value as it is. */
  encodeError(id: string, error: unknown): EncodedOutcome;
  /**
   * @throws EvenkeelError `RESULT_NOT_REPLAYABLE` for a tombstone, `RECORD_CORRUPT` for bytes that are not what was stored.
   */
  decode(id: string, stored: StoredOutcome): Settled;
}

export function outcomeCodec(codec: Codec, maxBytes: number): OutcomeCodec {
  function encode(
    id: string,
    kind: OutcomeKind,
    write: () => Uint8Array,
    read: (bytes: Uint8Array) => Settled,
  ): EncodedOutcome {
    const buried = (reason: "not_encodable" | "too_large"): EncodedOutcome => {
      return { outcome: { kind: "tombstone", bytes: seal(id, "tombstone", EMPTY) }, tombstone: reason };
    };
    try {
      const bytes = write();
      if (!(bytes instanceof Uint8Array)) return buried("not_encodable");
      if (bytes.length > maxBytes) return buried("too_large");
      // Read back before it is committed: what can't be replayed must not look as if it could.
      return { outcome: { kind, bytes: seal(id, kind, bytes) }, replay: read(bytes) };
    } catch (error) {
      return buried(error instanceof OutcomeTooLarge ? "too_large" : "not_encodable");
    }
  }

  const readValue = (bytes: Uint8Array): Settled => ({ ok: true, value: codec.decode(bytes) });
  const readError = (bytes: Uint8Array): Settled => ({ ok: false, error: taggedJson.decode(bytes) });

  return {
    encodeValue: (id, value) => encode(id, "value", () => codec.encode(value), readValue),
    encodeError: (id, error) => encode(id, "error", () => taggedJson.encode(storable(error, 0)), readError),
    decode(id, stored) {
      const bytes = unseal(id, stored);
      if (stored.kind === "tombstone") {
        throw new EvenkeelError(
          "RESULT_NOT_REPLAYABLE",
          "The function has run, but its outcome could not be stored: it has no encoding or is too large.",
        );
      }
      try {
        return stored.kind === "error" ? readError(bytes) : readValue(bytes);
      } catch (error) {
        if (isEvenkeelError(error)) throw error;
        // Not as the cause: a parser's error may quote what it could not parse.
        throw recordCorrupt("its outcome can't be decoded");
      }
    },
  };
}

/** Whether two outcomes are the same to whoever replays them. */
export function sameOutcome(a: StoredOutcome, b: StoredOutcome): boolean {
  return a.kind === b.kind && Buffer.compare(a.bytes, b.bytes) === 0;
}

/** An error cut down to what may be kept: no stack, a short message, few causes. */
function storable(error: unknown, depth: number): unknown {
  if (!(error instanceof Error)) return error;
  const message = shortened(String(error.message));
  const hasCause =
    "cause" in error && depth < MOST_CAUSES && (error.cause instanceof Error || isEncodable(error.cause));
  const copy = new Error(message, hasCause ? { cause: storable(error.cause, depth + 1) } : undefined);
  copy.name = String(error.name);
  const code = (error as { code?: unknown }).code;
  return code === undefined ? copy : Object.assign(copy, { code });
}

function shortened(message: string): string {
  const { read } = new TextEncoder().encodeInto(message, new Uint8Array(LONGEST_MESSAGE_BYTES));
  return message.slice(0, read);
}

/** A cause that can't be stored is left out, so that the error itself can be. */
function isEncodable(value: unknown): boolean {
  try {
    return taggedJson.encode(value).length > 0;
  } catch {
    return false;
  }
}

function seal(id: string, kind: OutcomeKind, bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(HEADER_BYTES + bytes.length);
  sealed[0] = VERSION;
  sealed.set(sealOf(id, kind, bytes), 1);
  sealed.set(bytes, HEADER_BYTES);
  return sealed;
}

function unseal(id: string, { kind, bytes }: StoredOutcome): Uint8Array {
  if (bytes[0] !== VERSION) throw recordCorrupt("its outcome is of an unknown version");
  const body = bytes.subarray(HEADER_BYTES);
  const found = bytes.subarray(1, HEADER_BYTES);
  if (Buffer.compare(found, sealOf(id, kind, body)) !== 0) throw recordCorrupt("its outcome is not what was stored");
  return body;
}

function sealOf(id: string, kind: OutcomeKind, bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(`${VERSION}:${id}:${kind}:`).update(bytes).digest().subarray(0, SEAL_BYTES);
}
