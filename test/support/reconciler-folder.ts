import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NotFound } from "../../src/index.ts";
import type { ActionContext, ResourceRecord } from "../../src/resources/resource.ts";

/** One call of a callback. */
export interface FolderCall {
  readonly action: string;
  readonly id: string;
  readonly incarnation: number;
  readonly key: string;
  readonly attempt: number;
  readonly token: number;
  readonly pid: number;
}

/** What goes on around an effect. */
export interface FolderHooks {
  /** Before anything is done. */
  begin(): void;
  /** After the effect. */
  end(): void;
  /** As the callback returns. */
  returned(): void;
  readonly workMs: number;
}

const LOG = "calls.log";
const NO_HOOKS: FolderHooks = { begin() {}, end() {}, returned() {}, workMs: 0 };

/**
 * The outside world as a folder that processes share: `create` makes a file that is named by the idempotency key, so that the same key
 * again makes nothing new; `terminate` removes what there is of an incarnation. Each call is a line in a file.
 */
export function folderCallbacks(folder: string, hooks: FolderHooks = NO_HOOKS) {
  async function call<T>(action: string, resource: ResourceRecord<number>, ctx: ActionContext, effect: () => T) {
    hooks.begin();
    const { idempotencyKey, attempt, fencingToken } = ctx;
    const words = [action, resource.id, resource.incarnation, idempotencyKey, attempt, fencingToken, process.pid];
    appendFileSync(join(folder, LOG), `${words.join(" ")}\n`);
    const result = effect();
    hooks.end();
    if (hooks.workMs > 0) await new Promise((resolve) => setTimeout(resolve, hooks.workMs));
    hooks.returned();
    return result;
  }
  const write = ({ id, incarnation, spec }: ResourceRecord<number>, key: string): void =>
    writeFileSync(join(folder, `${id}@${incarnation}@${key}`), String(spec));
  return {
    create: (resource: ResourceRecord<number>, ctx: ActionContext) =>
      call("create", resource, ctx, () => {
        const { idempotencyKey } = ctx;
        const name = `${resource.id}@${resource.incarnation}@${idempotencyKey}`;
        if (!existsSync(join(folder, name))) write(resource, idempotencyKey);
        return { externalId: idempotencyKey };
      }),
    terminate: (resource: ResourceRecord<number>, ctx: ActionContext) =>
      call("terminate", resource, ctx, () => {
        // Whoever was interrupted while it created may not know what it is called.
        const mine = readdirSync(folder).filter((file) => file.startsWith(`${resource.id}@${resource.incarnation}@`));
        if (mine.length === 0) throw new NotFound();
        for (const file of mine) rmSync(join(folder, file), { force: true });
      }),
    update: (resource: ResourceRecord<number>, ctx: ActionContext) =>
      call("update", resource, ctx, () => write(resource, resource.externalId ?? "")),
  };
}

/** What is in the folder now: `web-0` and its spec, one for each resource. */
export function resourcesIn(
  folder: string,
): { readonly id: string; readonly incarnation: number; readonly spec: string }[] {
  return readdirSync(folder)
    .filter((file) => file.includes("@"))
    .map((file) => {
      const [id = "", incarnation] = file.split("@");
      return { id, incarnation: Number(incarnation), spec: readFileSync(join(folder, file), "utf8") };
    })
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

export function callsIn(folder: string): FolderCall[] {
  const lines = readFileSync(join(folder, LOG), { encoding: "utf8", flag: "a+" }).split("\n");
  return lines.filter(Boolean).map((line) => {
    const [action = "", id = "", incarnation, key = "", attempt, token, pid] = line.split(" ");
    const numbers = {
      incarnation: Number(incarnation),
      attempt: Number(attempt),
      token: Number(token),
      pid: Number(pid),
    };
    return { action, id, key, ...numbers };
  });
}

/** The incarnations for which an action was called under more than one key. */
export function underTwoKeys(calls: readonly FolderCall[], action = "create"): string[] {
  const keys = new Map<string, Set<string>>();
  for (const call of calls.filter((each) => each.action === action)) {
    const name = `${call.id}/${call.incarnation}`;
    keys.set(name, (keys.get(name) ?? new Set()).add(call.key));
  }
  return [...keys].flatMap(([name, { size }]) => (size > 1 ? [name] : []));
}
