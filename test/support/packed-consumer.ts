import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What `npm pack` reads, and things beside it that it must leave out. */
const CHECKOUT = [
  ...[
    "package.json",
    "tsup.config.ts",
    "bundled-page.ts",
    "third-party-notices.ts",
    "tsconfig.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
  ],
  ...["CONTRIBUTING.md", "SECURITY.md", ".npmrc", "biome.json", "docs", "src", "adapters", "examples", "test", "bench"],
];

/** A project that has installed the package as it would be published. */
export interface PackedConsumer {
  /** The consumer's folder. */
  readonly folder: string;
  /** Where the package lies in it. */
  readonly installed: string;
  /** The paths in the tarball. */
  readonly files: readonly string[];
  readonly manifest: Manifest;
  /** Runs a script of this name and text with this Node, and gives what it printed. */
  run(name: string, text: string): Promise<string>;
  /** Installs a package that the library asks for optionally. */
  link(name: string): Promise<void>;
  dispose(): Promise<void>;
}

/** What the tests read of package.json. */
export interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly sideEffects: unknown;
}

/**
 * Builds the package from the sources in a folder of its own, packs it, and unpacks it into a new project beside its one
 * dependency and the types of what it is used with. Nothing is downloaded, no driver or framework is there, and the
 * checkout's own `dist/` is not touched.
 */
export async function packedConsumer(): Promise<PackedConsumer> {
  const workshop = await mkdtemp(join(tmpdir(), "evenkeel-package-"));
  const checkout = join(workshop, "checkout");
  const folder = join(workshop, "consumer");
  const installed = join(folder, "node_modules", "evenkeel");
  await mkdir(installed, { recursive: true });
  await mkdir(checkout);
  for (const name of CHECKOUT) await cp(join(ROOT, name), join(checkout, name), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(checkout, "node_modules"));

  await run(process.execPath, [join(ROOT, "node_modules/tsup/dist/cli-default.js"), "--silent"], { cwd: checkout });
  const packed = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", workshop], {
    cwd: checkout,
  });
  const [tarball] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
  await run("tar", ["-xzf", join(workshop, tarball.filename), "--strip-components=1", "-C", installed]);

  await writeFile(join(folder, "package.json"), '{ "name": "consumer", "private": true }');
  // Copied, so that what types ask of other types is looked for here, and not among the packages of the checkout.
  await cp(join(ROOT, "node_modules", "@types"), join(folder, "node_modules", "@types"), { recursive: true });
  const link = async (name: string): Promise<void> => {
    const path = join(folder, "node_modules", name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(join(ROOT, "node_modules", name), path);
  };
  for (const name of ["zod", "undici-types"]) await link(name);
  return {
    folder,
    installed,
    files: tarball.files.map(({ path }) => path),
    manifest: JSON.parse(await readFile(join(installed, "package.json"), "utf8")),
    async run(name, text) {
      await writeFile(join(folder, name), text);
      return (await run(process.execPath, [name], { cwd: folder })).stdout;
    },
    link,
    dispose: () => rm(workshop, { recursive: true, force: true }),
  };
}
