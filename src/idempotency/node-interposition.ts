import type { ServerResponse } from "node:http";

/** The methods of a response as they were before, with what other layers have put on them. */
export interface NativeResponse {
  writeHead(...args: unknown[]): ServerResponse;
  write(...args: unknown[]): boolean;
  end(...args: unknown[]): ServerResponse;
  flushHeaders(): void;
}

/** What Node and middleware ask for when something is to be written and the head has not been decided. */
interface WithImplicitHeader {
  _implicitHeader(): void;
}

/** What stands in front of a response. */
export interface Interposition {
  writeHead(args: unknown[]): ServerResponse;
  write(chunk: unknown, encoding: unknown, callback: unknown): boolean;
  end(chunk: unknown, encoding: unknown, callback: unknown): ServerResponse;
  flushHeaders(): void;
  /** Decides the head, or sends the one that has been decided. */
  implicitHeader(): void;
  /** Whether the head counts as sent although it is not: headers can't be changed any more. */
  isHeadVirtual(): boolean;
  /** Whether the response counts as ended although it is not. */
  isEndVirtual(): boolean;
}

/** Puts something in front of one response's own methods. */
export function interpose(res: ServerResponse, front: Interposition): NativeResponse {
  const native: NativeResponse = {
    writeHead: res.writeHead.bind(res) as NativeResponse["writeHead"],
    write: res.write.bind(res) as NativeResponse["write"],
    end: res.end.bind(res) as NativeResponse["end"],
    flushHeaders: res.flushHeaders.bind(res),
  };
  Object.assign(res, {
    writeHead: (...args: unknown[]) => front.writeHead(args),
    write: (chunk: unknown, encoding?: unknown, callback?: unknown) => front.write(chunk, encoding, callback),
    end: (chunk?: unknown, encoding?: unknown, callback?: unknown) => front.end(chunk, encoding, callback),
    flushHeaders: () => front.flushHeaders(),
    // Node's own would call `writeHead` as it is now, and with it what the handler's middleware has put on it, a second time.
    _implicitHeader: () => front.implicitHeader(),
  } satisfies Partial<Record<keyof ServerResponse, unknown>> & WithImplicitHeader);
  for (const name of ["setHeader", "appendHeader", "removeHeader"] as const) {
    const change = res[name].bind(res) as (...args: unknown[]) => unknown;
    Object.assign(res, {
      [name]: (...args: unknown[]) => {
        if (front.isHeadVirtual()) throw headersSent();
        return change(...args);
      },
    });
  }
  shadow(res, "headersSent", front.isHeadVirtual);
  shadow(res, "writableEnded", front.isEndVirtual);
  return native;
}

/** What Node throws when a head is changed that has been sent. */
export function headersSent(): Error {
  const message = "Cannot change headers after they are sent to the client";
  return Object.assign(new Error(message), { code: "ERR_HTTP_HEADERS_SENT" });
}

/** Makes a getter of the response true also while `asIf` is. */
function shadow(res: ServerResponse, name: "headersSent" | "writableEnded", asIf: () => boolean): void {
  const own = Object.getOwnPropertyDescriptor(res, name);
  const below = (): boolean => Boolean(own?.get ? own.get() : Reflect.get(Object.getPrototypeOf(res), name, res));
  Object.defineProperty(res, name, { configurable: true, enumerable: false, get: () => asIf() || below() });
}
