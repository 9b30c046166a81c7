import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ElectionLine, electionReader } from "./election-lines.ts";
import type { ElectionDurations, NodeRequest } from "./election-node.ts";
import { until } from "./until.ts";
import { startWorker, type Worker } from "./workers.ts";

/** One process of an election, seen from outside. */
export interface ElectionNode extends Worker {
  readonly name: string;
  /** What it has logged so far. */
  lines(): readonly ElectionLine[];
  tell<T = unknown>(request: NodeRequest): Promise<T>;
  /** The epoch of the last term that began and has not come to its end, as far as the log says. */
  leads(): number | undefined;
}

/** The processes of an election that all have a ledger open, and do not compete yet. */
export interface ElectionNodes {
  readonly nodes: readonly ElectionNode[];
  /** A file that isn't there. */
  file(name: string): string;
  /** The node that leads, and under its epoch, which is higher than `above`, has renewed its lease and written to the ledger. */
  untilOneLeads(above?: number): Promise<{ readonly node: ElectionNode; readonly epoch: number }>;
  /** Has nodes stop in good order. @returns the codes that they ended with. */
  stop(nodes: readonly ElectionNode[]): Promise<(number | null)[]>;
  /** Ends what still runs, and removes the logs. */
  end(): Promise<void>;
}

/**
 * Starts one process for each URL; they are called a, b, c.
 *
 * @param program - what `buildWorker("election-node")` made.
 */
export async function startElectionNodes(
  program: string,
  urls: readonly string[],
  durations: ElectionDurations,
): Promise<ElectionNodes> {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
  const file = (name: string): string => join(folder, name);
  const nodes = await Promise.all(
    urls.map(async (url, n): Promise<ElectionNode> => {
      const name = "abc"[n] as string;
      const log = file(`${name}.log`);
      const worker = await startWorker(program, url, log, name, JSON.stringify(durations));
      const lines = electionReader(log);
      return { ...worker, name, lines, tell: (request) => worker.ask(request), leads: () => termOf(lines()) };
    }),
  );
  return {
    nodes,
    file,
    async untilOneLeads(above = 0) {
      let found: { node: ElectionNode; epoch: number } | undefined;
      await until(`one leads, renews and writes, with an epoch above ${above}`, () => {
        for (const node of nodes) {
          const epoch = node.leads();
          if (epoch !== undefined && epoch > (found?.epoch ?? above) && isWellOn(node.lines(), epoch))
            found = { node, epoch };
        }
        return found !== undefined;
      });
      return found as { node: ElectionNode; epoch: number };
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

function termOf(lines: readonly ElectionLine[]): number | undefined {
  const last = lines.findLast(({ what }) => what === "started" || what === "over");
  return last?.what === "started" ? last.epoch : undefined;
}

function isWellOn(lines: readonly ElectionLine[], epoch: number): boolean {
  const ofTerm = lines.filter((line) => "epoch" in line && line.epoch === epoch);
  const [, renewed] = ofTerm.filter(({ what }) => what === "confirmed");
  return renewed !== undefined && ofTerm.some((line) => line.what === "write" && line.answer === "applied");
}
