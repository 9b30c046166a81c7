import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { BadInput } from "./bad-input.ts";

/** What of an address can be wrong. */
const FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "that is not allowed",
  EADDRNOTAVAIL: "this machine has no such address",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "there is no such host",
};

/**
 * Begins to answer.
 * @throws BadInput where the address can't be had.
 */
export async function listen(app: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const fault = FAULTS[(error as NodeJS.ErrnoException).code ?? ""];
    throw fault === undefined ? error : new BadInput(`Can't listen on port ${port} of ${host}: ${fault}.`);
  }
  return urlOf(app);
}

/** Where it answers, with the port that the system chose where it was 0. */
export function urlOf(app: FastifyInstance): string {
  const { address, family, port } = app.server.address() as AddressInfo;
  // Workers are on this machine, and can't connect to "any".
  if (address === "0.0.0.0" || address === "::") return `http://127.0.0.1:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
