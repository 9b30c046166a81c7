import { isEvenkeelError } from "evenkeel";
import { type OpenedStore, openStore } from "evenkeel/open";
import { type Keeping, startKeeping } from "./chaos/keeping.ts";
import { BadUsage, chaosOptionsOf } from "./chaos/options.ts";
import { textOfReport } from "./chaos/report.ts";
import { runChaos } from "./chaos/run.ts";
import { assertVacant } from "./chaos/vacancy.ts";

const ending = new AbortController();
let keeping: Keeping | undefined;
let ledger: OpenedStore | undefined;

// Not killed by it, so that it can wait until nothing is left. The keeper would see to that alone.
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, async () => {
    ending.abort();
    await keeping?.close();
    process.exit(signal === "SIGINT" ? 130 : 143);
  });

try {
  const options = chaosOptionsOf(process.argv.slice(2));
  const say = options.format === "json" ? () => {} : (what: string) => console.log(what);
  keeping = await startKeeping(options.store === undefined ? "postgres" : undefined);
  const url = options.store ?? keeping.url ?? "";
  ledger = await openStore(url);
  await assertVacant(ledger, ending.signal);
  const report = await runChaos({ ...options, ledger, url, folder: keeping.folder, say, signal: ending.signal });
  console.log(options.format === "json" ? JSON.stringify(report) : `\n${textOfReport(report)}`);
  process.exitCode = report.ok ? 0 : 1;
} catch (error) {
  if (ending.signal.aborted) await new Promise(() => {});
  process.exitCode = error instanceof BadUsage || isEvenkeelError(error) ? 2 : 1;
  console.error(error instanceof Error ? error.message : String(error));
} finally {
  await ledger?.close();
  await keeping?.close();
}
