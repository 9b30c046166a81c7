import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { invalidOptions } from "../../src/option-rules.ts";

/** Which engine a ledger is in. */
export type StoreEngine = "memory" | "sqlite" | "redis" | "postgres";

/**
 * Which engine a URL names, and the path behind `sqlite:`.
 * @throws EvenkeelError `INVALID_OPTIONS` for another URL, with no more of it than its scheme.
 */
export function acceptUrl(url: string): { readonly engine: StoreEngine; readonly path: string } {
  const [, scheme = "", path = ""] = (typeof url === "string" && /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url)) || [];
  switch (scheme.toLowerCase()) {
    case "memory":
      if (path === "") return { engine: "memory", path };
      break;
    case "sqlite": {
      const file = path.startsWith("///") ? path.slice(2) : path.replace(/^\/\//, "");
      if (file !== "") return { engine: "sqlite", path: file };
      break;
    }
    case "redis":
    case "rediss":
      if (path.startsWith("//")) return { engine: "redis", path };
      break;
    case "postgres":
    case "postgresql":
      if (path.startsWith("//")) return { engine: "postgres", path };
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
