import { isEvenkeelError } from "../../src/errors.ts";
import { shownText } from "../../src/shown-text.ts";

/**
 * What went wrong, in one line, with what the driver said. No secret of the URL is in it.
 */
export function failureText(error: unknown, url: string): string {
  const message = messageOf(error).replace(/^openStore: /, "");
  const cause = isEvenkeelError(error) && error.cause !== undefined ? messageOf(error.cause) : "";
  const told = cause === "" || message.includes(cause) ? message : `${message.replace(/\.$/, "")}: ${cause}`;
  const oneLine = told.replace(/\s*[\r\n]+\s*/g, " ").replace(/\.$/, "");
  return shownText(secretsOf(url).reduce((text, secret) => text.replaceAll(secret, "…"), oneLine));
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node's error of several addresses that were all tried has a code and no message.
  const { code } = error as { code?: unknown };
  if (error.message !== "") return error.message;
  return typeof code === "string" ? code : error.name;
}

/** The password of a URL, as it stands there and as it is meant. */
function secretsOf(url: string): string[] {
  const [, password = ""] = /^[^:]+:\/\/[^/?#]*?:([^/?#]*)@/.exec(url) ?? [];
  return [...new Set([password, decoded(password)])].filter((secret) => secret !== "");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
