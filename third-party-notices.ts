import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "esbuild";

const NAME = "third-party-notices.txt";

/** The folders of the packages that were bundled, by name and version. */
const bundled = new Map<string, string>();

/** Notes which packages a bundle holds: `inputs` are the paths of esbuild's metafile. */
export function noteBundled(inputs: Iterable<string>): void {
  for (const path of inputs) {
    const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.replaceAll("\\", "/"))?.[0];
    if (folder === undefined) continue;
    const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    bundled.set(`${name} ${version}`, folder);
  }
}

/** Notes what the build itself bundles. */
export function notingBundled(): Plugin {
  return {
    name: "third-party-notices",
    setup(building) {
      building.initialOptions.metafile = true;
      building.onEnd(({ metafile }) => noteBundled(Object.keys(metafile?.inputs ?? {})));
    },
  };
}

/**
 * Writes the licences of all packages that were bundled, which ask to be passed on with them.
 * @throws an error for a package without one.
 */
export function writeNotices(folder: string): void {
  const notices = [...bundled].sort().map(([title, from]) => `${title}\n\n${licenceOf(from)}`);
  writeFileSync(join(folder, NAME), `${notices.join(`\n\n${"-".repeat(80)}\n\n`)}\n`);
}

function licenceOf(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e([-.][\w.]+)?$/i.test(name));
  if (file === undefined) throw new Error(`${folder} has no licence that could be passed on`);
  return readFileSync(join(folder, file), "utf8").trim();
}
