import { describe, expect, it } from "vitest";
import { parsedBody } from "../../../adapters/http/parsed-body.ts";

const file = { originalname: "a.txt", mimetype: "text/plain", size: 1, buffer: Buffer.from("a") };
const seen = { field: "", name: "a.txt", mediaType: "text/plain", size: 1, bytes: file.buffer };

describe("what parsers leave on a request", () => {
  it.each([
    ["bytes", Buffer.from("{}")],
    ["text", "{}"],
  ])("is the body itself where they have kept it as %s", (_kind, rawBody) => {
    expect(parsedBody({ body: { parsed: true }, rawBody })).toEqual({ kind: "bytes", bytes: Buffer.from("{}") });
  });

  it.each([
    ["one file", { file: { ...file, fieldname: "front" } }, ["front"]],
    ["a list", { files: [{ ...file, fieldname: "front" }, file] }, ["front", ""]],
    ["lists by field", { files: { front: [file], back: [file, file] } }, ["front", "back", "back"]],
    ["files by field", { files: { front: file, back: file } }, ["front", "back"]],
    ["no files", { files: null }, []],
  ])("is fields and files: %s", (_case, left, fields) => {
    expect(parsedBody({ body: { a: "1" }, ...left })).toEqual({
      kind: "parsed",
      value: { a: "1" },
      files: fields.map((field) => ({ ...seen, field })),
    });
  });
});
