import { inspect } from "node:util";
import { type Codec, taggedJson } from "../../src/codec.ts";
import { responseCodec, StoredResponse } from "../../src/idempotency/http-response.ts";
import { outcomeCodec } from "../../src/idempotency/outcome.ts";
import { bodyOf } from "../../src/idempotency/sealed-outcome.ts";
import type { StoredOutcome } from "../../src/store.ts";

/** A stored outcome, as far as the command can read it. */
export type ReadOutcome =
  | { readonly form: "value"; readonly value: unknown }
  | { readonly form: "response"; readonly response: StoredResponse }
  | { readonly form: "error"; readonly error: unknown }
  /** It has run, and its outcome could not be kept. */
  | { readonly form: "tombstone" }
  /** By a codec of the operation's own. */
  | { readonly form: "foreign"; readonly bytes: Uint8Array };

/** The first byte of what the HTTP layer's codec writes. JSON begins with neither. */
const OF_RESPONSES: readonly (number | undefined)[] = [1, 2];

const RAW: Codec = { encode: (value) => value as Uint8Array, decode: (bytes) => bytes };
const sealed = outcomeCodec(RAW, Number.MAX_SAFE_INTEGER);
const responses = responseCodec(taggedJson);

/** How many bytes the outcome itself takes. */
export function sizeOf({ bytes }: StoredOutcome): number {
  return bodyOf(bytes).length;
}

/** @throws EvenkeelError `RECORD_CORRUPT` for an outcome that is not what was stored for this record. */
export function readOutcome(id: string, outcome: StoredOutcome): ReadOutcome {
  if (outcome.kind === "tombstone") return { form: "tombstone" };
  const settled = sealed.decode(id, outcome);
  if (!settled.ok) return { form: "error", error: settled.error };
  const bytes = settled.value as Uint8Array;
  try {
    const value = OF_RESPONSES.includes(bytes[0]) ? responses.decode(bytes) : taggedJson.decode(bytes);
    return value instanceof StoredResponse ? { form: "response", response: value } : { form: "value", value };
  } catch {
    return { form: "foreign", bytes };
  }
}

/** An outcome for programs: bytes as base64, values as tagged JSON, which keeps what JSON can't say. */
export function outcomeJson(read: ReadOutcome): Record<string, unknown> {
  switch (read.form) {
    case "value":
      return { form: read.form, value: taggedJsonOf(read.value) };
    case "error":
      return { form: read.form, error: taggedJsonOf(read.error) };
    case "response": {
      const { status, headers, body } = read.response;
      const text = textOf(body);
      return {
        form: read.form,
        status,
        headers,
        ...(text === undefined ? { base64: base64Of(body) } : { body: text }),
      };
    }
    case "tombstone":
      return { form: read.form };
    case "foreign":
      return { form: read.form, base64: base64Of(read.bytes) };
  }
}

/** An outcome for people, in lines. */
export function outcomeLines(read: ReadOutcome): string[] {
  switch (read.form) {
    case "value":
      return inspected(read.value);
    case "error":
      return errorLines(read.error);
    case "response": {
      const { status, headers, body } = read.response;
      const text = textOf(body)?.split(/\r?\n/) ?? [`(${body.length} bytes that are no text; see --json)`];
      return [`HTTP ${status}`, ...headers.map(([name, value]) => `${name}: ${value}`), "", ...text];
    }
    case "tombstone":
      return ["none: it ran, and its outcome has no encoding or was too large; callers get RESULT_NOT_REPLAYABLE"];
    case "foreign":
      return [`(${read.bytes.length} bytes of a codec of the operation's own; see --json)`];
  }
}

function errorLines(error: unknown): string[] {
  if (!(error instanceof Error)) return inspected(error);
  const { code } = error as { code?: unknown };
  const head = `${error.name}: ${error.message}${code === undefined ? "" : ` (code ${String(code)})`}`;
  return error.cause === undefined ? [head] : [head, ...errorLines(error.cause).map((line) => `  by ${line}`)];
}

function inspected(value: unknown): string[] {
  return inspect(value, { depth: null, maxArrayLength: null, maxStringLength: null, breakLength: 100 }).split("\n");
}

function taggedJsonOf(value: unknown): unknown {
  return JSON.parse(Buffer.from(taggedJson.encode(value)).toString());
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
