import type { HttpBody, UploadedFile } from "../../src/idempotency/http.ts";

/** What is looked at of Hono's own request. */
export interface HonoRequest {
  readonly raw: Request;
  arrayBuffer(): Promise<ArrayBuffer>;
  formData(): Promise<FormData>;
}

/** A body that was read before the layer: Hono remembers what was read by its own methods. */
export async function honoBody(req: HonoRequest): Promise<HttpBody> {
  const mediaType = req.raw.headers.get("content-type") ?? "";
  try {
    // Hono would write a form that it has read anew, with another boundary each time.
    if (/^\s*(multipart\/form-data|application\/x-www-form-urlencoded)\b/i.test(mediaType)) {
      return await formBody(await req.formData());
    }
    return { kind: "bytes", bytes: new Uint8Array(await req.arrayBuffer()) };
  } catch {
    return { kind: "gone" };
  }
}

async function formBody(form: FormData): Promise<HttpBody> {
  const fields: [field: string, value: string][] = [];
  const files: UploadedFile[] = [];
  for (const [field, value] of form) {
    if (typeof value === "string") {
      fields.push([field, value]);
    } else {
      const { name, type: mediaType, size } = value;
      files.push({ field, name, mediaType, size, bytes: new Uint8Array(await value.arrayBuffer()) });
    }
  }
  return { kind: "parsed", value: fields, files };
}
