import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

export interface ChaosOptions {
  /** The ledger's URL; a PostgreSQL of the run's own where there is none. */
  readonly store?: string;
  /** How long there are faults at least, in seconds; longer where one kind has not come yet. */
  readonly seconds: number;
  readonly copies: number;
  /** How many workers there are at first. */
  readonly desired: number;
  /** What all chance comes from. */
  readonly seed: number;
  /** Whether the report is for programs. */
  readonly format: "text" | "json";
}

/** Why there is no run, in one line for people. */
export class NoRun extends Error {}

export const USAGE = `node --import tsx chaos.ts [--store redis://… | postgres://…] [--seconds 60] [--copies 3] [--desired 10] [--seed N] [--json]`;

/** @throws NoRun */
export function chaosOptionsOf(args: readonly string[]): ChaosOptions {
  const { store, seconds, copies, desired, seed, json } = parsed(args);
  return {
    ...(store === undefined ? {} : { store: acceptStore(store) }),
    seconds: numberOf("--seconds", seconds, 5, 86_400),
    copies: numberOf("--copies", copies, 2, 9),
    desired: numberOf("--desired", desired, 1, 100),
    seed: seed === undefined ? randomInt(1_000_000) : numberOf("--seed", seed, 0, 999_999_999),
    format: json ? "json" : "text",
  };
}

function parsed(args: readonly string[]) {
  try {
    const text = (value: string) => ({ type: "string", default: value }) as const;
    return parseArgs({
      args: [...args],
      options: {
        store: { type: "string" },
        seconds: text("60"),
        copies: text("3"),
        desired: text("10"),
        seed: { type: "string" },
        json: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new NoRun(`${(error as Error).message.split("\n")[0]} Usage: ${USAGE}`);
  }
}

/** No message has the URL, which may hold a password. */
function acceptStore(store: string): string {
  const [, scheme = ""] = /^([a-z]+):/i.exec(store) ?? [];
  switch (scheme.toLowerCase()) {
    case "postgres":
    case "postgresql":
    case "redis":
      if (URL.canParse(store) && new URL(store).hostname !== "") return store;
      throw new NoRun(`--store: this ${scheme}: URL names no host.`);
    case "sqlite":
      throw new NoRun("--store: there is no network to cut before SQLite; take redis://… or postgres://…, or none.");
    case "rediss":
      throw new NoRun("--store: what is encrypted can't be led through a proxy; take redis://….");
    default:
      throw new NoRun("--store must be redis://… or postgres://….");
  }
}

function numberOf(option: string, text: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new NoRun(`${option} must be a whole number from ${least} to ${most}, and not "${text}".`);
}

/** Host and port of a ledger's URL. */
export function addressOf(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port) || (protocol === "redis:" ? 6_379 : 5_432) };
}
