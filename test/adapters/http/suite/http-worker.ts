import { appendFileSync } from "node:fs";
import { openLedger } from "../../../support/open-ledger.ts";
import { serve } from "../../../support/workers.ts";
import type { HttpShim } from "./http-shim.ts";

/** One process of a service: a shim of the suite on a ledger that others have open too. */
const [, , name = "", url = "", effects = "", leaseMs = "30000"] = process.argv;

/** By the first word of their names: a process loads one framework and not all. */
const SHIMS: Readonly<Record<string, () => Promise<object>>> = {
  Express: () => import("./express-shim.ts"),
  Fastify: () => import("./fastify-shim.ts"),
  Koa: () => import("./koa-shim.ts"),
  fetch: () => import("./fetch-shim.ts"),
};

const ledger = await openLedger(url);
const shim = await shimCalled(name);
const server = await shim.start({
  options: {
    store: ledger.store,
    scope: () => "",
    leaseMs: Number(leaseMs),
  },
  routes: [
    {
      path: "/",
      handler: async ({ execution, header }) => {
        appendFileSync(effects, `${execution?.key} ${execution?.attempt}\n`);
        if (header("x-never") !== undefined && execution?.attempt === 1) await new Promise(() => {});
        return { json: { attempt: execution?.attempt } };
      },
    },
  ],
});
serve(() => ({ port: server.port }));

async function shimCalled(wanted: string): Promise<HttpShim> {
  const [framework = ""] = wanted.split(" ");
  const exported: Readonly<Record<string, unknown>> = { ...(await SHIMS[framework]?.()) };
  const found = Object.values(exported).find((shim) => (shim as HttpShim).name === wanted);
  if (found === undefined) throw new Error(`no shim is called ${wanted}`);
  return found as HttpShim;
}
