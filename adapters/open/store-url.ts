import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { invalidOptions } from "../../src/option-rules.ts";

/** Which engine a ledger is in. */
export type StoreEngine = "memory" | "sqlite" | "redis" | "postgres";

/** A URL of a ledger, its scheme in lower case, as drivers want it. */
export interface StoreUrl {
  readonly engine: StoreEngine;
  readonly url: string;
  /** What stands behind the scheme: of `sqlite:` a file. */
  readonly path: string;
}

/**
 * Which engine a URL names, and where.
 * @throws EvenkeelError `INVALID_OPTIONS` for another URL, with no more of it than its scheme.
 */
export function acceptUrl(given: string): StoreUrl {
  const [, asked = "", path = ""] = (typeof given === "string" && /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(given)) || [];
  const scheme = asked.toLowerCase();
  const url = `${scheme}:${path}`;
  switch (scheme) {
    case "memory":
      if (path === "") return { engine: "memory", url, path };
      break;
    case "sqlite": {
      const file = path.startsWith("///") ? path.slice(2) : path.replace(/^\/\//, "");
      if (file !== "") return { engine: "sqlite", url, path: file };
      break;
    }
    case "redis":
    case "rediss":
      if (path.startsWith("//")) return { engine: "redis", url, path };
      break;
    case "postgres":
    case "postgresql":
      if (path.startsWith("//")) return { engine: "postgres", url, path };
      break;
  }
  const found = scheme === "" ? "a URL without a scheme" : `a URL of the scheme ${scheme}:`;
  throw invalidOptions(
    "openStore",
    `${found} names no ledger; say sqlite:FILE, redis://HOST, postgres://HOST/DATABASE or memory:`,
  );
}

/** Whether the path behind `sqlite:` is a file that is there, one that is not, or none at all, such as `:memory:`. */
export function sqliteFile(path: string): "present" | "missing" | "none" {
  if (path.startsWith(":") || path.startsWith("file:")) return "none";
  return existsSync(resolve(path)) ? "present" : "missing";
}
