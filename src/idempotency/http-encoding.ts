import { brotliDecompress, gunzip, inflate } from "node:zlib";
import { type HeaderPair, headerOf, withoutHeader } from "./http-headers.ts";
import { StoredResponse } from "./http-response.ts";

type Decoder = (bytes: Uint8Array, bounds: { maxOutputLength: number }, done: Done) => void;
type Done = (error: Error | null, bytes: Uint8Array) => void;

const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  "x-gzip": gunzip,
  deflate: inflate,
  br: brotliDecompress,
};

/** A stored body that decodes to more is sent as it is stored. */
const LARGEST_DECODED_BYTES = 256 * 1_048_576;

/**
 * The response in a form that the client takes: a stored body is decoded where `Accept-Encoding` excludes its coding
 * (RFC 9110, section 12.5.3). Without that header, and where the body can't be decoded, it stays as it was stored.
 */
export async function acceptableTo(
  acceptEncoding: string | undefined,
  response: StoredResponse,
): Promise<StoredResponse> {
  const coding = headerOf(response.headers, "content-encoding")?.trim().toLowerCase() ?? "identity";
  if (acceptEncoding === undefined || response.body.length === 0 || accepts(acceptEncoding, coding)) return response;
  const decode = Object.hasOwn(DECODERS, coding) ? DECODERS[coding] : undefined;
  if (decode === undefined || !accepts(acceptEncoding, "identity")) return response;
  const body = await new Promise<Uint8Array | undefined>((resolve) => {
    const bounds = { maxOutputLength: LARGEST_DECODED_BYTES };
    decode(response.body, bounds, (error, bytes) => resolve(error === null ? bytes : undefined));
  });
  if (body === undefined) return response;
  // The stored `Vary` has to win over that of an outer layer now, since it says more.
  const outer = response.outer.filter((name) => name !== "vary");
  return new StoredResponse(response.status, decodedHeaders(response.headers), outer, body, response.removed);
}

function decodedHeaders(headers: readonly HeaderPair[]): HeaderPair[] {
  const vary = headers.flatMap(([name, value]) =>
    name.toLowerCase() === "vary" ? value.toLowerCase().split(",") : [],
  );
  const varies = vary.some((name) => name.trim() === "accept-encoding" || name.trim() === "*");
  const decoded = withoutHeader(headers, "content-encoding").map(([name, value]): HeaderPair => {
    // A strong validator names exact bytes, and these are others.
    return name.toLowerCase() === "etag" && value.startsWith('"') ? [name, `W/${value}`] : [name, value];
  });
  return varies ? decoded : [...decoded, ["Vary", "Accept-Encoding"]];
}

/** Whether an `Accept-Encoding` value takes a coding; identity is taken unless it is refused. */
function accepts(acceptEncoding: string, coding: string): boolean {
  const qualities = new Map<string, number>();
  for (const item of acceptEncoding.toLowerCase().split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim());
    const quality = parameters.find((parameter) => parameter.startsWith("q="));
    if (name !== "")
      qualities.set(name.replace(/^x-gzip$/, "gzip"), quality === undefined ? 1 : Number(quality.slice(2)));
  }
  const quality = qualities.get(coding.replace(/^x-gzip$/, "gzip")) ?? qualities.get("*");
  return quality === undefined ? coding === "identity" : quality > 0;
}
