import { readFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { build, type Plugin as EsbuildPlugin } from "esbuild";
import { noteBundled } from "./third-party-notices.ts";

/** Scripts and styles of pages, as texts inside the library: `?script` bundles a file for browsers, `?raw` takes it as it is. */
const SUFFIX = /\?(script|raw)$/;

/** The text behind a path that ends with `?script` or `?raw`. */
async function textOf(path: string): Promise<string> {
  const file = path.replace(SUFFIX, "");
  if (path.endsWith("?raw")) return readFile(file, "utf8");
  const bundled = await build({
    entryPoints: [file],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    platform: "browser",
    // Licences of what is bundled stay where they are.
    legalComments: "inline",
    metafile: true,
  });
  noteBundled(Object.keys(bundled.metafile.inputs));
  return bundled.outputFiles[0]?.text ?? "";
}

/** For tsup. */
export function bundledPageForEsbuild(): EsbuildPlugin {
  return {
    name: "bundled-page",
    setup(building) {
      building.onResolve({ filter: SUFFIX }, ({ path, resolveDir }) => ({
        // Comments and source maps name it: not by a folder of the machine that builds.
        path: relative(process.cwd(), resolve(resolveDir, path)),
        namespace: "bundled-page",
      }));
      building.onLoad({ filter: /.*/, namespace: "bundled-page" }, async ({ path }) => ({
        contents: await textOf(resolve(path)),
        loader: "text",
      }));
    },
  };
}

/** For vitest, which would blank what looks like a style sheet: so nothing does. */
export function bundledPageForVite() {
  const prefix = "\0bundled-page:";
  return {
    name: "bundled-page",
    enforce: "pre" as const,
    resolveId(source: string, importer: string | undefined) {
      const isText = SUFFIX.test(source) && importer !== undefined;
      return isText ? `${prefix}${resolve(dirname(importer), source).replace("?", "|")}.js` : undefined;
    },
    async load(id: string) {
      if (!id.startsWith(prefix)) return undefined;
      return `export default ${JSON.stringify(await textOf(id.slice(prefix.length, -".js".length).replace("|", "?")))};`;
    },
  };
}
