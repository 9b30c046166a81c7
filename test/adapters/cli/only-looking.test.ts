import { readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { openStore } from "evenkeel/open";
import { describe, expect, it } from "vitest";
import { openDatabase } from "../../support/sqlite-files.ts";
import { run } from "./cli-kit.ts";
import { claim, fileOf, idOf, newSqliteUrl, terminated } from "./ledger-kit.ts";

const ID = idOf("a1");

/** Every command that is asked what there is, or to say first what it would do. */
const LOOKS = [
  ["executions", "list"],
  ["executions", "list", "--recent"],
  ["executions", "show", ID],
  ["executions", "release", ID],
  ["executions", "complete", ID, "--value", "1"],
  ["resources", "list"],
  ["resources", "show", "worker-1"],
  ["leases", "list"],
  ["doctor", "--wait", "1ms"],
];

/** What is in the folder of a file: names and bytes. */
function folderOf(url: string): Record<string, string> {
  const folder = dirname(fileOf(url));
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(`${folder}/${name}`, "base64")]));
}

/** Runs all of them, and gives back those that left the folder otherwise than it was. */
async function whoWrote(url: string, status: readonly number[]): Promise<string[]> {
  const writers: string[] = [];
  for (const words of LOOKS) {
    const before = folderOf(url);
    const ran = await run([...words, "--store", url]);
    expect(status, `${words.join(" ")}: ${ran.stderr}`).toContain(ran.status);
    if (JSON.stringify(folderOf(url)) !== JSON.stringify(before)) writers.push(words.join(" "));
  }
  return writers;
}

describe("a command that only looks", () => {
  it("leaves another program's database as it is", async () => {
    const url = await newSqliteUrl();
    const other = openDatabase(fileOf(url));
    other.exec("PRAGMA journal_mode = DELETE");
    other.exec("CREATE TABLE app (x)");
    other.close();
    expect(await whoWrote(url, [2])).toEqual([]);
  });

  it("leaves a ledger as it is, whatever its journal", async () => {
    const url = await newSqliteUrl();
    const store = await openStore(url);
    await claim(store, { id: ID });
    await terminated(store, "workers", ["worker-1"]);
    await store.close();
    expect(await whoWrote(url, [0, 1, 2])).toEqual([]);
    const other = openDatabase(fileOf(url));
    other.exec("PRAGMA journal_mode = DELETE");
    other.close();
    expect(await whoWrote(url, [0, 1, 2])).toEqual([]);
  });
});
