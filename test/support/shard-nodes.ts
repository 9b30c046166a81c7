import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rendezvous } from "../../src/index.ts";
import { SHARDS, type ShardLine, shardReader } from "./shard-lines.ts";
import type { ShardNodeRequest, ShardNodeSettings } from "./shard-node.ts";
import { until } from "./until.ts";
import { startWorker, type Worker } from "./workers.ts";

/** Which epoch each shard is held under. */
export type Epochs = ReadonlyMap<number, number>;

/** One process of a division, seen from outside. */
export interface ShardNode extends Worker {
  readonly name: string;
  /** What it has logged so far. */
  lines(): readonly ShardLine[];
  tell<T = unknown>(request: ShardNodeRequest): Promise<T>;
  /** What it holds, as far as the log says. */
  holds(): Epochs;
  /** What of it it has had an effect and written to the ledger under, and has made known there. */
  isWellOnWith(): Epochs;
}

/** The processes of a division that all have a ledger open, and do not take part yet. */
export interface ShardNodes {
  readonly nodes: readonly ShardNode[];
  /** The folder that is the outside world of all reconcilers. */
  readonly world: string;
  /** A file that isn't there. */
  file(name: string): string;
  /** Each of these is well on with its own shards, as `rendezvous` says, and holds no other. @returns the epochs of all shards. */
  untilDivided(among: readonly ShardNode[]): Promise<Epochs>;
  /** Has processes stop in good order. @returns the codes that they ended with. */
  stop(nodes: readonly ShardNode[]): Promise<(number | null)[]>;
  /** Ends what still runs, and removes the logs. */
  end(): Promise<void>;
}

/** The shards that are a member's among these. */
export function shardsOf(member: string, among: readonly string[]): number[] {
  return Array.from({ length: SHARDS }, (_, shard) => shard).filter(
    (shard) => rendezvous(`${shard}`, among) === member,
  );
}

/**
 * Starts one process for each URL; they are called a, b, c.
 *
 * @param program - what `buildWorker("shard-node")` made.
 */
export async function startShardNodes(
  program: string,
  urls: readonly string[],
  settings: ShardNodeSettings,
): Promise<ShardNodes> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  const file = (name: string): string => join(folder, name);
  const world = file("world");
  mkdirSync(world);
  const nodes = await Promise.all(
    urls.map(async (url, n): Promise<ShardNode> => {
      const name = "abc"[n] as string;
      const log = file(`${name}.log`);
      const worker = await startWorker(program, url, log, name, world, JSON.stringify(settings));
      const lines = shardReader(log);
      return { ...worker, name, lines, tell: (request) => worker.ask(request), ...standingOf(lines) };
    }),
  );
  return {
    nodes,
    world,
    file,
    async untilDivided(among) {
      const names = among.map(({ name }) => name);
      const epochs = new Map<number, number>();
      await until(`the shards are divided among ${names}`, () => {
        epochs.clear();
        return among.every((node) => {
          const own = shardsOf(node.name, names);
          const wellOn = node.isWellOnWith();
          for (const [shard, epoch] of wellOn) epochs.set(shard, epoch);
          return node.holds().size === own.length && own.every((shard) => wellOn.has(shard));
        });
      });
      return epochs;
    },
    stop: (those) =>
      Promise.all(
        those.map(({ kill, ended }) => {
          kill("SIGTERM");
          return ended;
        }),
      ),
    async end() {
      for (const { kill } of nodes) kill("SIGKILL");
      await Promise.all(nodes.map(({ ended }) => ended));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Looks at each line once: there are many. */
function standingOf(lines: () => readonly ShardLine[]): Pick<ShardNode, "holds" | "isWellOnWith"> {
  const held = new Map<number, number>();
  // The ledger may know an epoch before the callback is called.
  const signs = new Map<number, { readonly epoch: number; readonly of: Set<ShardLine["what"]> }>();
  let seen = 0;
  function see(line: ShardLine): void {
    if (!("epoch" in line)) return;
    const { what, shard, epoch } = line;
    if (what === "assigned") held.set(shard, epoch);
    if (what === "over" && held.get(shard) === epoch) held.delete(shard);
    if (what !== "began" && what !== "raised" && (what !== "write" || line.answer !== "applied")) return;
    if (epoch > (signs.get(shard)?.epoch ?? 0)) signs.set(shard, { epoch, of: new Set() });
    if (epoch === signs.get(shard)?.epoch) signs.get(shard)?.of.add(what);
  }
  function update(): void {
    const all = lines();
    for (; seen < all.length; seen += 1) see(all[seen] as ShardLine);
  }
  return {
    holds() {
      update();
      return new Map(held);
    },
    isWellOnWith() {
      update();
      return new Map(
        [...held].filter(([shard, epoch]) => {
          const sign = signs.get(shard);
          return sign?.epoch === epoch && sign.of.size === 3;
        }),
      );
    },
  };
}
