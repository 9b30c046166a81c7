import { hostname } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { BadInput } from "./bad-input.ts";

/** What a copy of the control plane is told at its start. */
export interface Settings {
  /** The URL of the ledger. */
  readonly store: string;
  /** Before the names of tables, or of keys in Redis: several control planes have room in one database. */
  readonly prefix: string | undefined;
  readonly port: number;
  readonly host: string;
  /** How many workers of each group there are to be, where nobody has said so yet. */
  readonly desired: number;
  readonly groups: readonly string[];
  /** The folder of the workers' files: one for all copies of a ledger. */
  readonly workers: string;
  /** How long a copy that died still counts as the leader, in milliseconds. */
  readonly leaseMs: number;
  /** How long a worker may be silent before it is replaced, in milliseconds. */
  readonly staleMs: number;
  /** How long a worker lives that no copy answers, in milliseconds. */
  readonly orphanMs: number;
  /** Who this copy is. */
  readonly name: string;
  /** Whether the page has buttons. */
  readonly actions: boolean;
}

/** More processes than this are no demonstration any more. */
export const MOST_WORKERS = 1_000;

/** Without dots, which the names of the files have that are beside the groups' folders. */
const GROUP = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** @throws BadInput for what can't be meant. */
export function settingsOf(args: readonly string[]): Settings {
  const { values } = parsed(args);
  const groups = values.groups.split(",");
  for (const group of groups)
    if (!GROUP.test(group)) throw new BadInput(`--groups: "${group}" can be no group's name.`);
  const { prefix } = values;
  const name = values.name ?? `${hostname()}-${process.pid}`.replaceAll(/[^\w.-]/g, "-");
  if (!NAME.test(name)) throw new BadInput(`--name: "${name}" can be no copy's name.`);
  return {
    store: values.store,
    prefix,
    port: numberOf("--port", values.port, 0, 65_535),
    host: values.host,
    desired: numberOf("--desired", values.desired, 0, MOST_WORKERS),
    groups: [...new Set(groups)],
    workers: resolve(values.workers ?? folderOf(values.store, prefix)),
    leaseMs: numberOf("--lease-ms", values["lease-ms"], 500, 3_600_000),
    staleMs: numberOf("--stale-ms", values["stale-ms"], 500, 3_600_000),
    orphanMs: numberOf("--orphan-ms", values["orphan-ms"], 500, 3_600_000),
    name,
    actions: values.actions,
  };
}

function parsed(args: readonly string[]) {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        store: text("sqlite:control-plane.db"),
        prefix: { type: "string" },
        port: text("3000"),
        host: text("127.0.0.1"),
        desired: text("10"),
        groups: text("worker"),
        workers: { type: "string" },
        "lease-ms": text("15000"),
        "stale-ms": text("30000"),
        "orphan-ms": text("30000"),
        name: { type: "string" },
        actions: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new BadInput((error as Error).message);
  }
}

function numberOf(option: string, text: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new BadInput(`${option} must be a whole number from ${least} to ${most}, and not "${text}".`);
}

/** Of each ledger its own, where that can be told from what it is called. */
function folderOf(store: string, prefix: string | undefined): string {
  const file = /^sqlite:(?:\/\/)?(.+)$/i.exec(store)?.[1];
  // A prefix may have characters that a file's name can't have.
  return `${file ?? "control-plane"}${prefix === undefined ? "" : `.${encodeURIComponent(prefix)}`}.workers`;
}
