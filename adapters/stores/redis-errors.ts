import { EvenkeelError, isEvenkeelError } from "../../src/errors.ts";
import { recordCorrupt } from "../../src/execution-record.ts";

/** Replies that say that the user's settings are wrong: what to change, by the reply's first word. */
const SETTINGS: Readonly<Record<string, string>> = {
  NOAUTH: "Redis asks for a password that the client does not give",
  WRONGPASS: "Redis refuses the client's user name or password",
  NOPERM:
    "Redis refuses a command to the client's user: it needs the commands and the key and channel patterns that docs/redis.md lists",
};

/**
 * What an error of the driver means to a caller. Any of them leaves open whether the operation happened, unless the server
 * says that the settings are wrong: a connection that is lost, `READONLY`, `MOVED`, `ASK`, `TRYAGAIN`, `CLUSTERDOWN` and `LOADING`
 * pass, and `OOM` may, as records expire.
 */
export function redisError(error: unknown): EvenkeelError {
  if (isEvenkeelError(error)) return error;
  const word = isDeniedToScript(error) ? "NOPERM" : replyWord(error);
  const wrong = word === undefined ? undefined : SETTINGS[word];
  if (wrong !== undefined) return new EvenkeelError("STORE_MISCONFIGURED", `${wrong}.`, { cause: bare(error) });
  if (isSubscribing(error)) {
    const what = "The Redis client is subscribed to channels, and can do nothing else: give the store one of its own.";
    return new EvenkeelError("STORE_MISCONFIGURED", what, { cause: bare(error) });
  }
  if (word === "WRONGTYPE") return recordCorrupt("a key holds another type", { cause: bare(error) });
  if (word === "OOM") return unavailable("Redis is out of memory (maxmemory), and refuses to write", error);
  return unavailable("Redis failed, or the connection to it was lost", error);
}

/** With a cause, the core sends the operation again with its nonce. */
export function unavailable(what: string, cause: unknown): EvenkeelError {
  return new EvenkeelError("STORE_UNAVAILABLE", `${what}.`, { cause: bare(cause) });
}

/** Whether the server does not know a script (yet, or any more). */
export function isNoScript(error: unknown): boolean {
  return replyWord(error) === "NOSCRIPT";
}

/** The name and the message of an error: drivers hang the command on theirs, and with it keys and outcomes of the user. */
export function bare(error: unknown): Error {
  const { name, message, code }: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  // An error of several connections has no message. The server repeats arguments of a command that it does not know.
  const told = (message || String(code ?? name)).replace(/, with args beginning with:.*/s, "");
  const cause = new Error(told);
  Object.defineProperty(cause, "name", { value: name, configurable: true, writable: true });
  return cause;
}

/** A script may be allowed, and a command in it not. */
function isDeniedToScript(error: unknown): boolean {
  return error instanceof Error && /user executing the script can't|has no permissions to/i.test(error.message);
}

/** ioredis says so itself; with `redis` by RESP2 the server does. */
function isSubscribing(error: unknown): boolean {
  return error instanceof Error && /in subscriber mode|only \(P\|S\)SUBSCRIBE/i.test(error.message);
}

/** The first word of an error reply; those of a script's commands may come behind a prefix. */
function replyWord(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /^(?:ERR .*?: -?|-)?([A-Z]{3,})\b/.exec(error.message)?.[1];
}
