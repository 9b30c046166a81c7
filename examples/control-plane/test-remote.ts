import { readdirSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { BadInput, orSayWhatIsWrong } from "./bad-input.ts";

/** Integration tests against a server that runs already: `node --import tsx test-remote.ts http://…`, or its URL in `URL`. */
const url = process.argv[2] ?? process.env["URL"] ?? "http://127.0.0.1:3000";
await orSayWhatIsWrong(async () => {
  if (!URL.canParse(url)) throw new BadInput(`"${url}" is no URL.`);
  const { status } = await fetch(new URL("/state", url)).catch(() => ({ status: 0 }));
  if (status !== 200) throw new BadInput(`No control plane answers at ${url}.`);
});
process.env["URL"] = url;

const folder = fileURLToPath(new URL("remote", import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));
// One after the other: they look at the same server.
run({ files: files.map((name) => `${folder}/${name}`), concurrency: 1 })
  .on("test:fail", () => {
    process.exitCode = 1;
  })
  .compose(new spec())
  .pipe(process.stdout);
