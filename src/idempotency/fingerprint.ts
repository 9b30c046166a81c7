import { createHash } from "node:crypto";
import { EvenkeelError } from "../errors.ts";

/** Deeper inputs are refused: nobody sends them in good faith, and walking them would exhaust the stack. */
const DEEPEST = 500;

/**
 * Hex SHA-256 over the canonical form of a value. Equal values have equal fingerprints whatever the order in which their
 * keys, map entries and set members were added; values of different types never do. `{ a: undefined }` equals `{}`.
 *
 * Known: null, undefined, booleans, strings, numbers (-0 and NaN included), bigint, Date, Map, Set, bytes (`ArrayBuffer` and
 * its views, `Buffer` included), arrays, plain objects, and objects with `toJSON`.
 *
 * @throws EvenkeelError `INVALID_FINGERPRINT` for anything else: functions, symbols, cycles, other class instances.
 */
export function fingerprintOf(value: unknown): string {
  const text: string[] = [];
  new Canonical().write(value, (part) => text.push(part));
  // UTF-16 because UTF-8 would fold all lone surrogates into one character.
  return createHash("sha256").update(text.join(""), "utf16le").digest("hex");
}

type Sink = (part: string) => void;

class Canonical {
  /** The objects on the path to the present value: one that comes again is a cycle. */
  readonly #path: object[] = [];

  write(value: unknown, out: Sink): void {
    switch (typeof value) {
      case "undefined":
        return out("u;");
      case "boolean":
        return out(value ? "t;" : "f;");
      case "number":
        return out(`n${Object.is(value, -0) ? "-0" : value};`);
      case "bigint":
        return out(`i${value};`);
      case "string":
        return out(`s${value.length}:${value}`);
      case "object":
        if (value === null) return out("0;");
        return this.#writeObject(value, out);
      default:
        throw invalid(`a ${typeof value} has no canonical form`);
    }
  }

  #writeObject(value: object, out: Sink): void {
    if (this.#path.includes(value)) throw invalid("a value that contains itself has no canonical form");
    if (this.#path.length >= DEEPEST) throw invalid(`values nested deeper than ${DEEPEST} have no canonical form`);
    this.#path.push(value);
    if (value instanceof Date) out(`d${value.getTime()};`);
    else if (value instanceof Map)
      this.#writeUnordered("m", value, ([key, item]) => this.#text(key) + this.#text(item), out);
    else if (value instanceof Set) this.#writeUnordered("e", value, (item) => this.#text(item), out);
    else if (ArrayBuffer.isView(value)) writeBytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength), out);
    else if (value instanceof ArrayBuffer) writeBytes(Buffer.from(value), out);
    else if (Array.isArray(value)) this.#writeArray(value, out);
    else if (typeof (value as { toJSON?: unknown }).toJSON === "function") {
      this.write((value as { toJSON(): unknown }).toJSON(), out);
    } else this.#writePlain(value, out);
    this.#path.pop();
  }

  #writeArray(values: readonly unknown[], out: Sink): void {
    out(`a${values.length}[`);
    for (const value of values) this.write(value, out);
    out("]");
  }

  #writePlain(value: object, out: Sink): void {
    const prototype = Object.getPrototypeOf(value);
    // Another realm's Object.prototype has no prototype either.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      throw invalid("an instance of a class without toJSON has no canonical form");
    }
    if (
      Object.getOwnPropertySymbols(value).some((symbol) => Object.prototype.propertyIsEnumerable.call(value, symbol))
    ) {
      throw invalid("an object with symbol keys has no canonical form");
    }
    out("o{");
    for (const key of Object.keys(value).sort()) {
      const item = (value as Record<string, unknown>)[key];
      if (item === undefined) continue;
      this.write(key, out);
      this.write(item, out);
    }
    out("}");
  }

  #writeUnordered<T>(tag: string, items: Iterable<T>, text: (item: T) => string, out: Sink): void {
    const parts = Array.from(items, text).sort();
    out(`${tag}${parts.length}{`);
    for (const part of parts) out(part);
    out("}");
  }

  #text(value: unknown): string {
    const parts: string[] = [];
    this.write(value, (part) => parts.push(part));
    return parts.join("");
  }
}

function writeBytes(bytes: Buffer, out: Sink): void {
  out(`b${bytes.length}:${bytes.toString("latin1")}`);
}

function invalid(what: string): EvenkeelError {
  return new EvenkeelError("INVALID_FINGERPRINT", `The input can't be fingerprinted: ${what}.`);
}
