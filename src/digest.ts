import { createHash } from "node:crypto";

/** Hex SHA-256 of texts, each with its length before it, so that `("a:b", "c")` is not `("a", "b:c")`. */
export function digest(...parts: readonly string[]): string {
  const prefixed = Buffer.allocUnsafe(parts.reduce((size, part) => size + 4 + Buffer.byteLength(part), 0));
  let end = 0;
  for (const part of parts) {
    const length = prefixed.write(part, end + 4);
    end = prefixed.writeUInt32BE(length, end) + length;
  }
  return createHash("sha256").update(prefixed).digest("hex");
}
