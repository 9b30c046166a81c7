import { appendFileSync, readdirSync } from "node:fs";
import { openLedger } from "../../../support/open-ledger.ts";
import { serve } from "../../../support/workers.ts";
import type { HttpShim } from "./http-shim.ts";

/** One process of a service: a shim of the suite on a ledger that others have open too. */
const [, , name = "", url = "", effects = "", leaseMs = "30000"] = process.argv;

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
  for (const file of readdirSync(import.meta.dirname)) {
    if (!file.endsWith("-shim.ts") || file === "http-shim.ts") continue;
    const exported = Object.values(await import(`./${file}`)) as HttpShim[];
    const found = exported.find((shim) => shim.name === wanted);
    if (found !== undefined) return found;
  }
  throw new Error(`no shim is called ${wanted}`);
}
