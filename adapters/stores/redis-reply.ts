/** A reply of Redis as a text, whether the driver gave a text, bytes or a number. */
export function textOfReply(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString("utf8") : String(value);
}
