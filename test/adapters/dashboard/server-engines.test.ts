import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { openStore } from "../../../adapters/open/open-store.ts";
import { Reconciler, withIdempotency } from "../../../src/index.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { become, putRows } from "./ledger-rows.ts";
import { endLater, servedBoard } from "./server-board.ts";

/** The tests of a ledger on a server, behind a proxy that can cut it off. */
function describeOver(urlOf: () => Promise<string> | string, defaultPort: number): void {
  it("it shows what there is, lets go of what is stuck, and an outage as what was known before", async () => {
    const url = new URL(await urlOf());
    const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || defaultPort) });
    endLater(() => proxy.stop());
    const prefix = `board_${randomBytes(4).toString("hex")}_`;
    const store = await openStore(proxy.url(url.href), { prefix, timeoutMs: 30_000 });
    // What is desired, and who holds a key, is done on a connection of its own.
    const work = await openStore(url.href, { prefix, timeoutMs: 30_000 });
    endLater(() => work.close());
    await putRows(work, "web", 1_500);
    const reconciler = new Reconciler({ name: "db", store: work, create: async () => {}, terminate: async () => {} });
    await reconciler.setDesired(2);
    await reconciler.reconcile();
    let finish = (): void => {};
    const runs: number[] = [];
    const pay = withIdempotency(
      (_input: string, ctx) => {
        runs.push(ctx.attempt);
        return ctx.attempt === 1 ? new Promise<string>((resolve) => (finish = () => resolve("late"))) : "paid";
      },
      { store: work, operation: "pay" },
    );
    const stuck = pay("x", { key: "k" }).catch(() => {});
    const { server } = await servedBoard({ store, reconcilers: [reconciler], actions: true });
    const watching = server.watch("/events?group=web&states=PROVISIONED&limit=2");
    await expect.poll(() => watching.last?.groups?.[1]?.observed).toMatchObject({ PROVISIONED: 1_500 });
    expect(watching.last?.groups?.[0]).toMatchObject({ name: "db", desired: 2, converged: true, isHere: true });
    expect(watching.last?.window).toMatchObject({ total: 1_500, rows: [{ id: "web-0" }, { id: "web-1" }] });
    await become(work, "web", "web-0", "FAILED");
    await expect.poll(() => watching.last?.window).toMatchObject({ total: 1_499, rows: [{ id: "web-1" }, {}] });

    await expect.poll(() => watching.last?.executions?.running).toHaveLength(1);
    const { id, token } = watching.last?.executions?.running[0] ?? {};
    const released = await server.ask("/actions", { method: "POST", body: { type: "release", id, token } });
    expect({ status: released.status, text: released.text }).toEqual({ status: 204, text: "" });
    expect(await pay("x", { key: "k" })).toBe("paid");
    finish();
    await stuck;
    expect(runs).toEqual([1, 2]);
    await expect.poll(() => watching.last?.executions?.recent).toMatchObject([{ id, status: "completed", attempt: 2 }]);

    const { server: other } = await servedBoard({ store, storeTimeoutMs: 4_000 });
    const seeing = other.watch("/events?group=web&states=PROVISIONED&limit=2");
    await expect.poll(() => seeing.last?.problems).toEqual([]);
    const before = seeing.last;
    await proxy.refuseConnections();
    proxy.resetConnections();
    const parts = () => seeing.last?.problems.map(({ of }) => of).sort();
    await expect.poll(parts).toEqual(["executions", "groups", "leases", "window"]);
    expect(seeing.last?.problems.every(({ code }) => code === "STORE_UNAVAILABLE")).toBe(true);
    expect(seeing.last?.window?.rows).toHaveLength(2);
    expect(seeing.last?.groups?.[1]).toEqual(before?.groups?.[1]);
    expect(seeing.last?.executions?.recent).toEqual(before?.executions?.recent);
    await proxy.heal();
    await expect.poll(() => seeing.last?.problems).toEqual([]);
  });
}

describeRedis("a dashboard over Redis", () => describeOver(redisUrl, 6_379));
describePostgres("a dashboard over PostgreSQL", () => describeOver(databaseUrl, 5_432));
