import { setTimeout as sleep } from "node:timers/promises";
import logUpdate from "log-update";
import { BadInput, orSayWhatIsWrong } from "./bad-input.ts";
import type { StateAnswer } from "./routes/state.ts";
import { drawState } from "./state-table.ts";

/** Shows `/state` of a running control plane until Ctrl-C: `node --import tsx watch-state.ts [http://…]`. */
const url = process.argv[2] ?? process.env["URL"] ?? "http://127.0.0.1:3000";
await orSayWhatIsWrong(() => {
  if (!URL.canParse(url)) throw new BadInput(`"${url}" is no URL.`);
});

async function frame(): Promise<string> {
  try {
    const response = await fetch(new URL("/state", url));
    if (response.status !== 200) return `${url} answers ${response.status}: ${await response.text()}`;
    return drawState((await response.json()) as StateAnswer);
  } catch {
    return `No control plane answers at ${url}.`;
  }
}

// In place on a terminal; elsewhere one after the other, whenever more has changed than ages.
let last = "";
for (;;) {
  const now = await frame();
  const lasting = now.replaceAll(/\d+ s ago/g, "");
  if (process.stdout.isTTY) logUpdate(now);
  else if (lasting !== last) console.log(`${now}\n`);
  last = lasting;
  await sleep(500);
}
