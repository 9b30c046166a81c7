import type { AddressInfo, Server } from "node:net";
import type { RunningServer } from "./http-shim.ts";

/** Has a server listen on a free port of loopback. */
export async function listen(server: Server): Promise<RunningServer> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, stop: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}
