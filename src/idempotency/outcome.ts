import { type Codec, OutcomeTooLarge, taggedJson } from "../codec.ts";
import { EvenkeelError, isEvenkeelError } from "../errors.ts";
import { recordCorrupt } from "../execution-record.ts";
import type { OutcomeKind, StoredOutcome } from "../store.ts";
import { sealOutcome, unsealOutcome } from "./sealed-outcome.ts";

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
      return { outcome: sealOutcome(id, "tombstone", EMPTY), tombstone: reason };
    };
    try {
      const bytes = write();
      if (!(bytes instanceof Uint8Array)) return buried("not_encodable");
      if (bytes.length > maxBytes) return buried("too_large");
      // Read back before it is committed: what can't be replayed must not look as if it could.
      return { outcome: sealOutcome(id, kind, bytes), replay: read(bytes) };
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
      const bytes = unsealOutcome(id, stored);
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
