import type { HttpBody, UploadedFile } from "../../src/idempotency/http.ts";

/**
 * What parsers leave on a request: `rawBody` by the custom of their `verify` option (bytes) or of Koa's parsers (text),
 * `file` and `files` by that of multer.
 */
export interface ParsedRequest {
  readonly body?: unknown;
  readonly rawBody?: unknown;
  readonly file?: ParsedFile;
  readonly files?: readonly ParsedFile[] | Readonly<Record<string, ParsedFile | ParsedFile[]>> | null;
}

export interface ParsedFile {
  readonly fieldname?: string;
  readonly originalname?: string;
  readonly mimetype?: string;
  readonly size?: number;
  readonly buffer?: Uint8Array;
  /** express-fileupload's names. */
  readonly name?: string;
  readonly data?: Uint8Array;
}

/** The body as parsers have left it: its bytes where they kept them. */
export function parsedBody({ body, rawBody, file, files }: ParsedRequest): HttpBody {
  if (rawBody instanceof Uint8Array) return { kind: "bytes", bytes: rawBody };
  if (typeof rawBody === "string") return { kind: "bytes", bytes: Buffer.from(rawBody) };
  const single = file === undefined ? [] : [uploadedFile("", file)];
  return { kind: "parsed", value: body, files: [...single, ...uploadedFiles(files ?? [])] };
}

function uploadedFiles(files: NonNullable<ParsedRequest["files"]>): UploadedFile[] {
  if (Array.isArray(files)) return files.map((file) => uploadedFile("", file));
  return Object.entries(files).flatMap(([field, sent]) => [sent].flat().map((file) => uploadedFile(field, file)));
}

function uploadedFile(field: string, file: ParsedFile): UploadedFile {
  const { fieldname = field, name = "", originalname = name, mimetype = "", size = 0, data, buffer = data } = file;
  return { field: fieldname, name: originalname, mediaType: mimetype, size, bytes: buffer };
}
