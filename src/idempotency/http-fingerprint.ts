import { createHash } from "node:crypto";
import { EvenkeelError } from "../errors.ts";
import { parseFaithfully } from "./faithful-json.ts";
import { fingerprintOf } from "./fingerprint.ts";

/**
 * The body of a request as the layer finds it: the bytes, or what a parser that ran before has made of them. `files` are
 * those of a multipart parser. `gone` is a body that somebody has read who left nothing of it.
 */
export type HttpBody =
  | { readonly kind: "gone" }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "parsed"; readonly value: unknown; readonly files?: readonly UploadedFile[] };

/** One file of a multipart body. */
export interface UploadedFile {
  readonly field: string;
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  readonly bytes: Uint8Array | undefined;
}

/** What of a request has to be equal in a retry. */
export interface HttpPayload {
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly url: string;
  readonly contentType: string | undefined;
  readonly contentEncoding?: string;
  readonly body: HttpBody;
}

/**
 * The fingerprint of a request: method, path, query, media type, content coding and the whole body; never a header about
 * who asks. JSON bodies that differ only in white space and the order of keys are equal, unless their value would hide a
 * difference (a key that comes twice, a number beyond 2^53) or they are larger than 1 MiB: those are compared as bytes.
 * @throws EvenkeelError `INVALID_FINGERPRINT` for a parsed body without a canonical form, and where a part of the body can't
 * be seen: what can't be compared must not count as equal.
 */
export function fingerprintOfRequest({ method, url, contentType, contentEncoding, body }: HttpPayload): string {
  const { path, query } = splitUrl(url);
  const { type, charset, json } = mediaTypeOf(contentType);
  const coding = contentEncoding?.trim().toLowerCase() || "identity";
  return fingerprintOf(["http", method, path, query, type, charset, coding, canonical(body, json)]);
}

/** The fingerprint of a request whose payload the user has named: it stays bound to its method and path. */
export function fingerprintOfChosen(method: string, url: string, chosen: unknown): string {
  return fingerprintOf(["http", method, splitUrl(url).path, "chosen", chosen]);
}

/** RFC 9112, section 3.2.2: what stands before the path of a request to a proxy. */
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i;

/** The path and the query of a request target, the latter with its question mark or empty. */
export function splitUrl(url: string): { path: string; query: string } {
  const [target = ""] = url.replace(ABSOLUTE, "").split("#", 1);
  const at = target.indexOf("?");
  return at < 0 ? { path: target, query: "" } : { path: target.slice(0, at), query: target.slice(at) };
}

/** Parsing and sorting more than this would keep everybody else waiting; a client sends the same bytes again anyway. */
const LARGEST_CANONICAL_BYTES = 1_048_576;

function canonical(body: HttpBody, isJson: boolean): unknown {
  if (body.kind === "gone") throw unseen("its body was read before, and nothing of it is left");
  if (body.kind === "parsed" && !isText(body.value)) {
    return ["parsed", body.value, (body.files ?? []).map(canonicalFile)];
  }
  const bytes = body.kind === "bytes" ? body.bytes : bytesOf(body.value as string | Uint8Array);
  const faithful = isJson && bytes.length <= LARGEST_CANONICAL_BYTES ? parseFaithfully(bytes) : undefined;
  return faithful === undefined ? ["bytes", digestOf(bytes)] : ["json", faithful.value];
}

function canonicalFile({ field, name, mediaType, size, bytes }: UploadedFile): unknown {
  if (bytes === undefined) throw unseen("an uploaded file is not in memory");
  return [field, name, mediaType, size, digestOf(bytes)];
}

function unseen(what: string): EvenkeelError {
  const remedy = "mount the idempotency layer before what reads the body, or give it the `fingerprint` option";
  return new EvenkeelError("INVALID_FINGERPRINT", `The request can't be compared: ${what}; ${remedy}.`);
}

function isText(value: unknown): value is string | Uint8Array {
  return typeof value === "string" || value instanceof Uint8Array;
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value) : value;
}

/** Bodies are hashed before they become part of the canonical text, which would take several times their size. */
function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

interface MediaType {
  readonly type: string;
  readonly charset: string;
  /** Whether the body is JSON in UTF-8, the only charset that JSON has (RFC 8259, section 8.1). */
  readonly json: boolean;
}

function mediaTypeOf(contentType: string | undefined): MediaType {
  const [type = "", ...parameters] = (contentType ?? "").split(";").map((part) => part.trim().toLowerCase());
  const named = parameters.find((parameter) => parameter.startsWith("charset="))?.slice("charset=".length) ?? "";
  const charset = named.replace(/^"|"$/g, "");
  const isJson = type === "application/json" || type.endsWith("+json");
  if (!isJson) return { type, charset, json: false };
  const json = charset === "" || charset === "utf-8" || charset === "utf8";
  return { type, charset: json ? "utf-8" : charset, json };
}
