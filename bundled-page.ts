import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
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
        path: resolve(resolveDir, path),
        namespace: "bundled-page",
      }));
      building.onLoad({ filter: /.*/, namespace: "bundled-page" }, async ({ path }) => ({
        contents: await textOf(path),
        loader: "text",
      }));
    },
  };
}

/** For vitest, which knows `?raw` itself. */
export function bundledPageForVite() {
  return {
    name: "bundled-page",
    enforce: "pre" as const,
    resolveId(source: string, importer: string | undefined) {
      return source.endsWith("?script") && importer !== undefined
        ? `\0${resolve(dirname(importer), source)}`
        : undefined;
    },
    async load(id: string) {
      if (!id.startsWith("\0") || !id.endsWith("?script")) return undefined;
      return `export default ${JSON.stringify(await textOf(id.slice(1)))};`;
    },
  };
}
