import { createHash } from "node:crypto";
import { recordCorrupt } from "../execution-record.ts";
import type { OutcomeKind, StoredOutcome } from "../store.ts";

/**
 * What is stored of an outcome: a version byte, a seal of 16 bytes, in version 2 the trace context of the run that made it, and what
 * the codec wrote. The seal is a truncated SHA-256 over the record's id, the kind, the trace context and the bytes, so that a truncated
 * outcome, and one that was moved to another record, are found out. It guards against accidents and not against whoever can write to
 * the ledger.
 */
const PLAIN = 1;
const TRACED = 2;
const SEAL_BYTES = 16;
const PLAIN_HEADER_BYTES = 1 + SEAL_BYTES;
const TRACEPARENT_BYTES = 55;
const TRACED_HEADER_BYTES = PLAIN_HEADER_BYTES + TRACEPARENT_BYTES;

/** Version 00 of the header `traceparent`, W3C Trace Context, section 3.2. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Whether it is a trace context as an outcome can carry it. */
export function isTraceparent(text: unknown): text is string {
  return typeof text === "string" && TRACEPARENT.test(text);
}

/** Readies for the ledger what the codec wrote. */
export function sealOutcome(id: string, kind: OutcomeKind, body: Uint8Array): StoredOutcome {
  return { kind, bytes: sealed(id, kind, body, "") };
}

/** The same outcome, with the trace context of the run that made it. */
export function withTraceparent(id: string, { kind, bytes }: StoredOutcome, traceparent: string): StoredOutcome {
  return { kind, bytes: sealed(id, kind, bodyOf(bytes), traceparent) };
}

/**
 * What the codec wrote.
 * @throws EvenkeelError `RECORD_CORRUPT` for bytes that are not what was stored.
 */
export function unsealOutcome(id: string, { kind, bytes }: StoredOutcome): Uint8Array {
  if (bytes[0] !== PLAIN && bytes[0] !== TRACED) throw recordCorrupt("its outcome is of an unknown version");
  const body = bodyOf(bytes);
  const found = bytes.subarray(1, PLAIN_HEADER_BYTES);
  const expected = sealOf(id, kind, body, traceOf(bytes));
  if (Buffer.compare(found, expected) !== 0) throw recordCorrupt("its outcome is not what was stored");
  return body;
}

/** The trace context of the run that made an outcome, where that was kept. Only to be relied on where the outcome can be unsealed. */
export function traceparentOf({ bytes }: StoredOutcome): string | undefined {
  const traceparent = traceOf(bytes);
  return isTraceparent(traceparent) ? traceparent : undefined;
}

/** Whether two outcomes are the same to whoever replays them, whichever runs made them. */
export function sameOutcome(a: StoredOutcome, b: StoredOutcome): boolean {
  return a.kind === b.kind && Buffer.compare(bodyOf(a.bytes), bodyOf(b.bytes)) === 0;
}

function sealed(id: string, kind: OutcomeKind, body: Uint8Array, traceparent: string): Uint8Array {
  const trace = Buffer.from(traceparent, "latin1");
  const bytes = new Uint8Array(PLAIN_HEADER_BYTES + trace.length + body.length);
  bytes[0] = trace.length === 0 ? PLAIN : TRACED;
  bytes.set(sealOf(id, kind, body, traceparent), 1);
  bytes.set(trace, PLAIN_HEADER_BYTES);
  bytes.set(body, PLAIN_HEADER_BYTES + trace.length);
  return bytes;
}

function sealOf(id: string, kind: OutcomeKind, body: Uint8Array, traceparent: string): Uint8Array {
  const head = traceparent === "" ? `${PLAIN}:${id}:${kind}:` : `${TRACED}:${id}:${kind}:${traceparent}:`;
  return createHash("sha256").update(head, "latin1").update(body).digest().subarray(0, SEAL_BYTES);
}

/** What the codec wrote, whether it is what was stored or not. */
export function bodyOf(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(bytes[0] === TRACED ? TRACED_HEADER_BYTES : PLAIN_HEADER_BYTES);
}

function traceOf(bytes: Uint8Array): string {
  if (bytes[0] !== TRACED) return "";
  return Buffer.from(bytes.subarray(PLAIN_HEADER_BYTES, TRACED_HEADER_BYTES)).toString("latin1");
}
