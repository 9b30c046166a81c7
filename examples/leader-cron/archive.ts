import { appendFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** A report as it came in, and what became of it. */
export interface Delivery {
  readonly slot: string;
  readonly epoch: number;
  readonly attempt: number;
  readonly node: string;
  /** `known`: it had been filed. `refused`: a later leader had been heard of. */
  readonly outcome: "filed" | "known" | "refused";
}

/** A stand-in for where reports go: an outside system, which knows nothing of ledgers and leases. */
export interface Archive {
  readonly url: string;
  /** In the order in which they came in. */
  readonly deliveries: readonly Delivery[];
  close(): void;
}

interface Report extends Omit<Delivery, "outcome"> {
  readonly key: string;
  readonly text: string;
}

/**
 * Serves an archive on loopback. It appends every delivery to its file, as a line of JSON.
 *
 * @param onDelivery - called before the sender gets its answer, so that it can be killed over it.
 */
export async function startArchive(file: string, onDelivery: (made: Delivery) => void = () => {}): Promise<Archive> {
  const deliveries: Delivery[] = [];
  const keys = new Set<string>();
  let highestEpoch = 0;

  /** All that a target has to do for its part. */
  function judge({ epoch, key }: Report): Delivery["outcome"] {
    if (epoch < highestEpoch) return "refused";
    highestEpoch = epoch;
    if (keys.has(key)) return "known";
    keys.add(key);
    return "filed";
  }

  function take(report: Report): Delivery {
    const { slot, epoch, attempt, node } = report;
    const delivery = { slot, epoch, attempt, node, outcome: judge(report) };
    deliveries.push(delivery);
    appendFileSync(file, `${JSON.stringify(delivery)}\n`);
    onDelivery(delivery);
    return delivery;
  }

  const server = createServer(async (request, response) => {
    try {
      const { outcome } = take(await reportOf(request));
      const status = { filed: 201, known: 200, refused: 409 }[outcome];
      // A sender that stood still for a while must not find its connection dead.
      response.writeHead(status, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify({ outcome }));
    } catch {
      response.writeHead(400).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    deliveries,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function reportOf(request: IncomingMessage): Promise<Report> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return JSON.parse(text) as Report;
}
