import { isEvenkeelError } from "evenkeel";
import { type OpenedStore, openStore } from "evenkeel/open";
import { type Keeping, startKeeping } from "./chaos/keeping.ts";
import { chaosOptionsOf, NoRun } from "./chaos/options.ts";
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

const exitCode = await main().catch((error) => {
  // It ends there, and what fails meanwhile is no news.
  if (ending.signal.aborted) return new Promise<never>(() => {});
  const isKnown = error instanceof NoRun || isEvenkeelError(error);
  console.error(isKnown ? error.message.replaceAll(/\s*\n\s*/g, " ") : error);
  return 2;
});
await ledger?.close();
await keeping?.close();
// Of a run that was broken off in the middle there may be something under way.
process.exit(exitCode);

async function main(): Promise<number> {
  const options = chaosOptionsOf(process.argv.slice(2));
  const say = options.format === "json" ? () => {} : (what: string) => console.log(what);
  if (options.store !== undefined) ledger = await openVacant(options.store);
  keeping = await startKeeping(options.store === undefined ? "postgres" : undefined);
  const url = options.store ?? keeping.url ?? "";
  ledger ??= await openVacant(url);
  const report = await runChaos({ ...options, ledger, url, folder: keeping.folder, say, signal: ending.signal });
  console.log(options.format === "json" ? JSON.stringify(report) : `\n${textOfReport(report)}`);
  return report.ok ? 0 : 1;
}

async function openVacant(url: string): Promise<OpenedStore> {
  const opened = await openStore(url);
  await assertVacant(opened, ending.signal).catch(async (error) => {
    await opened.close();
    throw error;
  });
  return opened;
}
