import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { fixedThreshold, LeaderElector, Reconciler, ResourceLedger, ShardCoordinator, withIdempotency } from "evenkeel";
import { dashboard } from "evenkeel/dashboard";
import { memoryStore } from "evenkeel/memory";
import { ManualClock, seededRandom } from "evenkeel/testing";
import { headlessChromium } from "./headless-chromium.ts";

/** Draws docs/images/dashboard.png: some minutes in the life of three groups, lived through by a clock that is set. */

const MINUTE = 60_000;
const SECOND = 1_000;
const clock = new ManualClock(Date.now() - 15 * MINUTE);
const random = seededRandom(7);
const fraction = (): number => random.float();
const store = memoryStore({ clock });
const shared = { store, clock, random };

const elector = new LeaderElector({ ...shared, name: "control-plane", identity: "copy-1" });
const members = ["poller-a", "poller-b", "poller-c"].map(
  (member) => new ShardCoordinator({ ...shared, name: "pollers", member, shards: 64 }),
);

/** Creating takes a while, and some of it fails for now. */
let failing = false;
let made = 21_040;
function group(name: string, createMs: number): { loop: Reconciler; ledger: ResourceLedger } {
  const loop = new Reconciler({
    ...shared,
    name,
    leader: elector,
    staleness: fixedThreshold({ staleAfterMs: 30 * SECOND, startupGraceMs: 60 * SECOND }),
    concurrency: 2,
    async create() {
      await clock.sleep(createMs * (0.6 + fraction()));
      if (failing) throw new Error("quota exceeded");
      made += 1;
      return { externalId: String(made) };
    },
    terminate: () => clock.sleep(9 * SECOND),
  });
  return { loop, ledger: new ResourceLedger({ ...shared, group: name }) };
}
const worker = group("worker", 6 * SECOND);
const pollers = group("pollers", 3 * SECOND);
const preview = group("preview", 4 * SECOND);
const groups = [worker, pollers, preview];

/** Those whose process is stopped. */
const silent = new Set<string>();
async function live(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += SECOND) {
    await clock.advance(SECOND);
    for (const { ledger } of groups)
      for await (const { id, incarnation } of ledger.list({ states: ["PROVISIONED"] }))
        if (!silent.has(`${id}#${incarnation}`) && fraction() < 0.4) await ledger.heartbeat(id, { incarnation });
  }
}

function operation(
  name: string,
  run: (key: string) => Promise<unknown>,
  own: { clock: ManualClock; leaseMs?: number },
) {
  return withIdempotency(run, { store, operation: name, scope: "team-7", key: (key: string) => key, random, ...own });
}
const order = operation("POST /resources", () => clock.sleep(40 + 200 * fraction()), { clock });
const desired = operation("PUT /desired/:group", () => clock.sleep(8 + 20 * fraction()), { clock });
const charge = operation(
  "charge",
  async (key) => {
    await clock.sleep(300 * fraction());
    if (key.endsWith("3")) throw new Error("declined");
  },
  { clock },
);
const long = operation("POST /resources", () => clock.sleep(10 * MINUTE), { clock });
// Its process is gone: nobody renews its lease.
const lost = operation("charge", () => new Promise(() => {}), {
  clock: new ManualClock(clock.now()),
  leaseMs: 15 * SECOND,
});

const board = dashboard({ ...shared, reconcilers: groups.map(({ loop }) => loop), title: "control plane" });
const server = createServer(board.node);
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
const watching = await board.fetch(new Request(`${url}events`));
void watching.body?.pipeTo(new WritableStream());

for (const part of [elector, ...members]) part.start();
await live(20 * SECOND);
for (const { loop } of groups) loop.start();
const calls = async (): Promise<void> => {
  for (let call = 0; call < 7; call += 1) {
    const key = `order-${call}`;
    for (const ask of [order, desired, charge].slice(0, 1 + (call % 3))) ask(key).catch(() => {});
    await live(2 * SECOND);
  }
};
await worker.loop.setDesired(6);
await pollers.loop.setDesired(24);
await preview.loop.setDesired(3);
await live(210 * SECOND);
await worker.loop.setDesired(12);
await live(270 * SECOND);
silent.add("worker-4#1");
await live(60 * SECOND);
await worker.loop.setDesired(9);
await live(180 * SECOND);
lost("order-91").catch(() => {});
await live(55 * SECOND);
await calls();
silent.add("worker-7#1");
await live(26 * SECOND);
await worker.loop.setDesired(12);
failing = true;
long("order-92").catch(() => {});
await live(12 * SECOND);

const browser = await headlessChromium();
try {
  for (const [name, width, colorScheme] of [
    ["dashboard", 1_280, "light"],
    ["dashboard-dark", 1_280, "dark"],
    ["dashboard-phone", 360, "light"],
  ] as const) {
    if (name !== "dashboard" && process.env["ALL"] === undefined) continue;
    const page = await browser.newPage({ viewport: { width, height: 1_390 }, colorScheme, reducedMotion: "reduce" });
    await page.goto(`${url}#group=worker&minutes=15`);
    await page.locator('[data-panel="resources"] tbody tr').first().waitFor();
    for (let turn = 0; turn < 3; turn += 1) await live(SECOND);
    await page.waitForTimeout(700);
    const folder = process.env["FOLDER"] ?? fileURLToPath(new URL("../docs/images", import.meta.url));
    await page.screenshot({ path: `${folder}/${name}.png` });
    await page.close();
  }
} finally {
  await browser.close();
  board.close();
  server.close();
  server.closeAllConnections();
}
process.exit(0);
