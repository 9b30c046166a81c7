import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Reconciler, ResourceLedger } from "../../src/index.ts";
import { seededRandom } from "../../src/testing/index.ts";
import { type OpenLedger, openLedger } from "../support/open-ledger.ts";
import { callsIn, folderCallbacks, resourcesIn, underTwoKeys } from "../support/reconciler-folder.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const OUTAGE_MS = 5_000;
const RESYNC_MS = 200;
const STORE_TIMEOUT_MS = 1_000;
/** No longer than the outage, and so long that no lease lapses while the engine is there. */
const LEASE_MS = 5_000;

/** A server of the test's own. */
export interface Server {
  /** The URL of an empty ledger on it. */
  newUrl(): Promise<string>;
  /** Ends it at once, as a power loss does. */
  kill(): Promise<void>;
  restart(): Promise<void>;
}

/** What a reconciler does when its engine is away, or does what it is told and can't say so. */
export function describeReconcilerOutages(startServer: () => Promise<Server>): void {
  let folder: string;
  let server: Server | undefined;
  const closing: (() => Promise<unknown>)[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "evenkeel-"));
    server ??= await startServer();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    rmSync(folder, { recursive: true, force: true });
  });

  const open = async (url: string): Promise<OpenLedger> => {
    const ledger = await openLedger(url);
    closing.push(() => ledger.close());
    return ledger;
  };
  const ids = (): string[] => resourcesIn(folder).map(({ id }) => id);
  const reconcilerOn = ({ store }: OpenLedger, onFailure: () => void = () => {}) =>
    new Reconciler<number>({
      name: "web",
      store,
      ...folderCallbacks(folder),
      actionTimeoutMs: LEASE_MS,
      storeTimeoutMs: STORE_TIMEOUT_MS,
      resyncIntervalMs: RESYNC_MS,
      concurrency: 2,
      onEvent: ({ type }) => {
        if (type === "pass_failed") onFailure();
      },
    });

  it("goes on where it was after 5 s without its engine, has not asked it all the time, and makes nothing twice", async () => {
    const ours = server as Server;
    const url = await ours.newUrl();
    let failures = 0;
    const reconciler = reconcilerOn(await open(url), () => {
      failures += 1;
    });
    const other = reconcilerOn(await open(url));
    // The first call makes the ledger, and may take longer than one has time.
    await until("it is desired", async () => {
      await reconciler.setDesired(30);
      return true;
    });
    for (const each of [reconciler, other]) {
      each.start();
      closing.push(() => each.stop());
    }
    await until("some are made", () => ids().length > 3);
    await ours.kill();
    await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS));
    const failed = failures;
    await ours.restart();
    await until("all of them are there", () => ids().length === 30);
    await until("it is known", async () => (await reconciler.status()).converged);
    expect(failed).toBeGreaterThan(0);
    // Resyncs alone would be 25, and wakes would be more.
    expect(failed).toBeLessThan(15);
    expect(underTwoKeys(callsIn(folder))).toEqual([]);
    expect(new Set(resourcesIn(folder).map(({ id }) => id)).size).toBe(30);
    expect(resourcesIn(folder).every(({ incarnation }) => incarnation === 1)).toBe(true);
  });

  describe("an answer of the engine that is cut off", () => {
    let proxy: TcpProxy;

    /** A reconciler behind the proxy, with its connection made, and what is desired set from elsewhere. */
    async function setUp() {
      const url = await (server as Server).newUrl();
      const [address = "", prefix = ""] = url.split("#");
      proxy = await startTcpProxy({ port: Number(new URL(address).port) });
      closing.push(() => proxy.stop());
      const healthy = new ResourceLedger<number>({ store: (await open(url)).store, group: "web" });
      await until("nothing is desired", async () => {
        await healthy.setDesired(0);
        return true;
      });
      const reconciler = reconcilerOn(await open(`${proxy.url(address)}#${prefix}`));
      await until("it has its connection", async () => (await reconciler.reconcile()).converged);
      return { healthy, reconciler };
    }

    it("is asked for again, and each resource is created once", async () => {
      const { healthy, reconciler } = await setUp();
      let cuts = 0;
      for (let request = 1; request <= 12; request += 1) {
        await healthy.setDesired([{ id: `web-${request}`, spec: 1 }]);
        const cut = proxy.cutReply({ request }).then(() => {
          cuts += 1;
        });
        await until("it converges", async () => (await reconciler.reconcile()).converged);
        await proxy.heal();
        expect(ids()).toEqual([`web-${request}`]);
        void cut;
      }
      expect(cuts).toBeGreaterThan(6);
      const calls = callsIn(folder);
      for (const action of ["create", "terminate"]) {
        const names = calls.filter((call) => call.action === action).map(({ id }) => id);
        expect(names, `each ${action} once`).toHaveLength(new Set(names).size);
      }
    });

    it("costs time alone where many are", async () => {
      const { healthy, reconciler } = await setUp();
      // Making a connection takes several answers as well.
      const random = seededRandom(1);
      proxy.cutReplies({ share: 0.1, random: () => random.float() });
      for (const desired of [8, 3, 6, 9, 2, 7]) {
        await healthy.setDesired(desired);
        await until("it converges", async () => (await reconciler.reconcile()).converged);
        expect(ids()).toHaveLength(desired);
      }
      expect(proxy.counts.cuts).toBeGreaterThan(0);
      for (const action of ["create", "terminate"]) expect(underTwoKeys(callsIn(folder), action)).toEqual([]);
    });
  });
}
