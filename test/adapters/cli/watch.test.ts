import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { WatchChange } from "../../../adapters/cli/watch-change.ts";
import { WatchedLedger } from "../../../adapters/cli/watched-ledger.ts";
import { openStore } from "../../../adapters/open/open-store.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { EvenkeelError, LeaderElector, type LedgerStore, Reconciler, ResourceLedger } from "../../../src/index.ts";
import { buildOnce } from "../../support/build-once.ts";
import { databaseUrl, describePostgres, describeRedisServers, describeTmux } from "../../support/engines.ts";
import { startRedis } from "../../support/redis-server.ts";
import { openDatabase } from "../../support/sqlite-files.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { until } from "../../support/until.ts";
import { BUILT, start } from "./cli-kit.ts";
import { CALL, fileOf, newSqliteUrl } from "./ledger-kit.ts";
import { startTerminal, type Terminal } from "./terminal.ts";
import { type Watching, watching } from "./watching.ts";

/** A group whose resources are no more than rows. */
function reconcilerOf(store: LedgerStore): Reconciler {
  return new Reconciler({ name: "web", store, create: async () => {}, terminate: async () => {}, concurrency: 100 });
}

async function scale(reconciler: Reconciler, desired: number): Promise<void> {
  await reconciler.setDesired(desired);
  await until("it is converged", async () => (await reconciler.reconcile()).converged);
}

describe("evenkeel watch, for programs", () => {
  let url: string;
  let store: LedgerStore;
  let watched: Watching | undefined;

  beforeEach(async () => {
    url = await newSqliteUrl();
    store = sqliteStore(fileOf(url));
  });
  afterEach(async () => {
    await watched?.stop();
    watched = undefined;
    await store.close();
  });

  it("tells with --json what there is, and then each change as it comes", async () => {
    const web = reconcilerOf(store);
    await scale(web, 3);
    watched = watching(["--store", url, "--json"]);
    await until("it has looked", () => (watched as Watching).json().length > 0);
    expect(watched.json()).toEqual([
      expect.objectContaining({
        ...{ type: "group", group: "web", desired: 3, generation: 1, observedGeneration: 1, converged: true },
        observed: { PENDING: 0, PROVISIONED: 3, FAILED: 0, TERMINATING: 0, TERMINATED: 0 },
        drift: { missing: 0, surplus: 0, outdated: 0, silent: 0 },
      }),
    ]);
    await scale(web, 1);
    const ofType = (type: string) => (watched as Watching).json().filter((line) => line["type"] === type);
    await until("it is seen", () => ofType("resource").filter(({ to }) => to === "TERMINATED").length === 2);
    expect(ofType("desired")).toMatchObject([{ group: "web", generation: 2, desired: 1 }]);
    expect(new Set(ofType("resource").map(({ id }) => id))).toEqual(new Set(["web-1", "web-2"]));
    expect(ofType("resource")[0]).toMatchObject({ incarnation: 1, from: "PROVISIONED", at: expect.any(Number) });
    await until("all is told", () => ofType("group").at(-1)?.["converged"] === true);
    expect(ofType("group").at(-1)).toMatchObject({ observed: { PROVISIONED: 1, TERMINATED: 2 } });
    expect(await watched.stop()).toBe(130);
  });

  it("prints a line a change where there is no terminal, and nothing while nothing changes", async () => {
    await scale(reconcilerOf(store), 2);
    watched = watching(["--store", url, "--group", "web"]);
    await until("it has looked", () => (watched as Watching).lines().length > 0);
    expect(watched.lines()[0]).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}web {2}desired 2 {2}PENDING 0 PROVISIONED 2 .* converged$/,
    );
    const elector = new LeaderElector({ store, name: "web-leader", identity: "node-1" });
    elector.start();
    await until("who leads is seen", () => (watched as Watching).lines().length === 2);
    expect(watched.lines()[1]).toMatch(/web-leader {2}node-1 leads, epoch \d+$/);
    await elector.stop();
    await until("that nobody leads is seen", () => (watched as Watching).lines().length === 3);
    expect(watched.lines()[2]).toMatch(/web-leader {2}nobody leads$/);
  });

  it("tells with --json who leads and who owns shards from the start", async () => {
    const lease = (name: string, holder: string) =>
      store.leases.acquire({ name, holder, nonce: name, durationMs: 60_000 }, CALL);
    await lease("web-leader", "node-1");
    await lease("shards:pollers/members/node-1", "1 of 8");
    await lease("shards:pollers/shards/3", "node-1 of 8");
    // Has left, and waits for what runs in it.
    await lease("shards:pollers/shards/4", "node-0 of 8");
    // No coordinator's, and no election either.
    await lease("shards:odd", "node-1");
    watched = watching(["--store", url, "--json"]);
    await until("it has looked", () => (watched as Watching).json().length === 2);
    expect(watched.json()).toMatchObject([
      { type: "leader", election: "web-leader", holder: "node-1", epoch: expect.any(Number), at: expect.any(Number) },
      { type: "shards", division: "pollers", members: 1, held: 2, at: expect.any(Number) },
    ]);
    await lease("other-leader", "node-2");
    await until("the other is told", () => (watched as Watching).json().length === 3);
    expect(watched.json()[2]).toMatchObject({ type: "leader", election: "other-leader" });
  });

  it("goes on after a change whose moment is no date", async () => {
    const web = reconcilerOf(store);
    await scale(web, 1);
    watched = watching(["--store", url]);
    await until("it has looked", () => (watched as Watching).lines().length === 1);
    const file = openDatabase(fileOf(url));
    file.exec(
      "UPDATE evenkeel_resources SET state = 'FAILED', state_changed_at = 9000000000000000, sequence = sequence + 1000",
    );
    file.exec("UPDATE evenkeel_groups SET sequence = sequence + 2000");
    file.close();
    await until("it is told", () => (watched as Watching).lines().length === 2);
    expect(watched.lines()[1]).toMatch(/^9000000000000000 {2}web {2}web-0#1 {2}PROVISIONED -> FAILED/);
    expect(await watched.stop()).toBe(130);
  });

  it("shows drift, also while nobody acts on it, and a group that can't be read beside those that can", async () => {
    const web = reconcilerOf(store);
    await scale(web, 3);
    await new ResourceLedger({ store, group: "web" }).setDesired([
      { id: "web-0" },
      { id: "web-1", spec: 2 },
      { id: "new" },
    ]);
    await new ResourceLedger({ store, group: "other" }).setDesired(1);
    watched = watching(["--store", url, "--json"]);
    await until("it has looked", () => (watched as Watching).json().length === 2);
    expect(watched.json()).toMatchObject([
      { group: "other", drift: { missing: 1 }, converged: false },
      {
        group: "web",
        drift: { missing: 1, surplus: 1, outdated: 1, silent: 0 },
        observedGeneration: 1,
        converged: false,
      },
    ]);
    const file = openDatabase(fileOf(url));
    file.exec("UPDATE evenkeel_resources SET state = 'banana', sequence = sequence + 1000 WHERE id = 'web-1'");
    file.exec("UPDATE evenkeel_groups SET sequence = sequence + 2000 WHERE name = 'web'");
    file.close();
    await until("it is told", () => (watched as Watching).json().length === 3);
    expect(watched.json()[2]).toMatchObject({
      group: "web",
      unreadable: expect.any(String),
      observed: { PROVISIONED: 3 },
    });
  });

  it("reads of ten thousand rows only what changed, and tells a change though the look fails after it", async () => {
    const writes = Array.from({ length: 10_000 }, (_, n) => ({
      ...{ kind: "create" as const, after: 0, state: "PROVISIONED" as const, generation: 1, attempt: 1 },
      ...{ id: `web-${n}`, nonce: `${n}` },
    }));
    await store.resources.apply({ group: "web", epoch: 0, writes }, CALL);
    let read = 0;
    let failing = false;
    const counted: LedgerStore = {
      ...store,
      resources: {
        ...store.resources,
        async changedSince(request, call) {
          const changed = await store.resources.changedSince(request, call);
          read += changed.rows.length;
          return changed;
        },
        async staleBefore(request, call) {
          if (failing) throw new EvenkeelError("STORE_UNAVAILABLE", "Cut off.");
          return store.resources.staleBefore(request, call);
        },
      },
    };
    const ledger = new WatchedLedger({ store: counted, ask: (send) => send(CALL), silentMs: 60_000 });
    const changes: WatchChange[] = [];
    const look = () => ledger.look(Date.now(), (change) => changes.push(change));
    expect((await look()).groups[0]?.observed.PROVISIONED).toBe(10_000);
    expect({ read, changes }).toEqual({ read: 10_000, changes: [] });
    await look();
    expect(read).toBe(10_000);
    const row = await store.resources.get("web", "web-7", CALL);
    const update = {
      kind: "update" as const,
      incarnation: 1,
      expectedVersion: row?.version ?? 0,
      nonce: "u",
      generation: 1,
      attempt: 1,
    };
    await store.resources.apply(
      { group: "web", epoch: 0, writes: [{ ...update, id: "web-7", state: "FAILED" }] },
      CALL,
    );
    failing = true;
    await expect(look()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    failing = false;
    expect((await look()).groups[0]).toMatchObject({ observed: { PROVISIONED: 9_999, FAILED: 1 } });
    expect(read).toBe(10_001);
    expect(changes).toMatchObject([{ type: "resource", id: "web-7", from: "PROVISIONED", to: "FAILED" }]);
  });

  it("ends quietly when nobody reads any more", async () => {
    await buildOnce();
    await scale(reconcilerOf(store), 3);
    const { child, ended, stdout } = start(["watch", "--json", "--interval", "20ms", "--store", url]);
    await until("it has looked", () => stdout().includes("\n"));
    child.stdout?.destroy();
    await scale(reconcilerOf(store), 1);
    expect(await ended).toMatchObject({ status: 0, stderr: "" });
  });
});

describeRedisServers("evenkeel watch while Redis is away", () => {
  it("calls it unknown and not empty, and goes on when it is back", async () => {
    const server = await startRedis();
    const proxy = await startTcpProxy(server);
    const store = await openStore(server.url);
    const web = reconcilerOf(store);
    await scale(web, 3);
    const watched = watching(["--store", proxy.url(server.url), "--json", "--timeout", "2s"]);
    try {
      const types = () => watched.json().map(({ type }) => type);
      await until("it has looked", () => types().includes("group"));
      proxy.blackHole("toClient");
      await until("it is unknown", () => types().includes("unknown"));
      await scale(web, 2);
      await proxy.heal();
      await until("what happened meanwhile is told", () =>
        watched.json().some(({ type, to }) => type === "resource" && to === "TERMINATED"),
      );
      await until("it is known again", () => types().includes("known"));
      for (const { type, observed } of watched.json()) {
        if (type === "group") expect((observed as { PROVISIONED: number }).PROVISIONED).toBeGreaterThan(0);
      }
    } finally {
      await watched.stop();
      await store.close();
      await proxy.stop();
      await server.stop();
    }
  });
});

describePostgres("evenkeel watch of PostgreSQL", () => {
  it("sees a group change", async () => {
    const url = await databaseUrl();
    const store = await openStore(url);
    const web = reconcilerOf(store);
    await scale(web, 3);
    const watched = watching(["--store", url, "--json"]);
    try {
      const last = () => watched.json().findLast(({ type }) => type === "group");
      await until("it has looked", () => last() !== undefined);
      await scale(web, 1);
      await until("it is seen", () => last()?.["converged"] === true && last()?.["desired"] === 1);
      expect(last()).toMatchObject({ observed: { PROVISIONED: 1, TERMINATED: 2 } });
    } finally {
      await watched.stop();
      await store.close();
    }
  });
});

describeTmux("evenkeel watch in a terminal", () => {
  let url: string;
  let store: LedgerStore;
  let terminal: Terminal;
  let web: Reconciler;

  beforeAll(buildOnce);
  beforeEach(async () => {
    url = await newSqliteUrl();
    store = sqliteStore(fileOf(url));
    web = reconcilerOf(store);
    await scale(web, 10);
    const argv = [process.execPath, BUILT, "watch", "--store", url, "--interval", "100ms"];
    terminal = await startTerminal(argv, { columns: 100, rows: 20 });
    await shows(/observed +10 .*PROVISIONED 10/);
  });
  afterEach(async () => {
    await terminal.close();
    await store.close();
  });

  /** Waits until a line of the screen says so, and gives the screen. */
  async function shows(line: RegExp): Promise<string[]> {
    let screen: string[] = [];
    try {
      await until(`the screen shows ${line}`, async () => {
        screen = await terminal.screen();
        return screen.some((each) => line.test(each));
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}:\n${screen.join("\n")}`);
    }
    return screen;
  }

  /** There is one frame, and nothing of an older one. */
  function expectOneFrame(screen: readonly string[]): void {
    for (const part of [/^evenkeel watch {2}sqlite/, /^web {2}/, /^ {2}desired/, /^ {2}observed/, /^ {2}drift/]) {
      expect(
        screen.filter((line) => part.test(line)),
        `${part} in\n${screen.join("\n")}`,
      ).toHaveLength(1);
    }
  }

  it("changes numbers in place, after it was made smaller and larger as well, and cleans up", async () => {
    expect(await terminal.state()).toEqual({ cursor: false, alternate: true });
    expectOneFrame(await terminal.screen());
    await scale(web, 5);
    await shows(/desired +5 +generation 2/);
    expectOneFrame(await shows(/observed +5 .*PROVISIONED 5/));
    // Broken lines and a screen that is too low for all.
    await terminal.resize({ columns: 40, rows: 12 });
    await scale(web, 7);
    const small = await shows(/desired +7/);
    expectOneFrame(small);
    expect(small.every((line) => line.length < 40)).toBe(true);
    await terminal.resize({ columns: 120, rows: 40 });
    await scale(web, 9);
    expectOneFrame(await shows(/observed +9 .*PROVISIONED 9/));
    await shows(/web {2}web-8#\d+ {2}.*PROVISIONED/);
    expectOneFrame(await terminal.history());

    await terminal.press("C-c");
    const after = await shows(/^exit status 130$/);
    // The last frame stays, once.
    expectOneFrame(after);
    expect(after.some((line) => /observed +9/.test(line))).toBe(true);
    expect(await terminal.state()).toEqual({ cursor: true, alternate: false });
  });
});
