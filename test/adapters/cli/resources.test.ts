import { ManualClock } from "evenkeel/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { resourcesList } from "../../../adapters/cli/resources-list.ts";
import { resourcesShow } from "../../../adapters/cli/resources-show.ts";
import { openStore } from "../../../adapters/open/open-store.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { type LedgerStore, Reconciler, ResourceLedger } from "../../../src/index.ts";
import { databaseUrl, describePostgres, describeRedis, redisUrl } from "../../support/engines.ts";
import { openDatabase } from "../../support/sqlite-files.ts";
import { type RunOptions, run as runCommand } from "./cli-kit.ts";
import { CALL, fileOf, newSqliteUrl } from "./ledger-kit.ts";

const run = (argv: readonly string[], options: RunOptions = {}) =>
  runCommand(argv, { commands: [resourcesList, resourcesShow], ...options });

interface Listed {
  readonly resources: { readonly group: string; readonly id: string; readonly [field: string]: unknown }[];
  readonly more: boolean;
}

describe("evenkeel resources", () => {
  let url: string;

  beforeAll(async () => {
    url = await newSqliteUrl();
    const clock = new ManualClock();
    const store = sqliteStore(fileOf(url), { clock });
    await web(store, clock);
    await odd(store);
    await store.close();
  });

  /** Five of them, the newest spec of web-1 not taken over yet, web-2 silent and replaced. */
  async function web(store: LedgerStore, clock: ManualClock): Promise<void> {
    const reconciler = new Reconciler<{ image: string }>({
      ...{ name: "web", store, clock },
      create: async ({ id, incarnation }) => ({ externalId: `pid-${id}-${incarnation}` }),
      terminate: () => Promise.reject(new Error("it does not end")),
    });
    const ids = ["web-0", "web-1", "web-2"];
    await reconciler.setDesired(ids.map((id) => ({ id, spec: { image: "v1" } })));
    await reconciler.reconcile();
    const ledger = new ResourceLedger({ store, group: "web", clock });
    for (const id of ids) await ledger.heartbeat(id);
    await clock.advance(20_000);
    for (const id of ["web-0", "web-1"]) await ledger.heartbeat(id);
    await clock.advance(20_000);
    await reconciler.reconcile();
    await reconciler.reconcile();
    await ledger.setDesired([
      { id: "web-0", spec: { image: "v1" } },
      { id: "web-1", spec: { image: "v2" }, deletionCost: 7 },
      { id: "web-2" },
      { id: "web-9" },
    ]);
  }

  /** Another group with an id that a terminal would act upon, where the core would let it through. */
  async function odd(store: LedgerStore): Promise<void> {
    const write = {
      kind: "create" as const,
      after: 0,
      nonce: "n",
      state: "PENDING" as const,
      generation: 1,
      attempt: 1,
    };
    const writes = [
      { ...write, id: "web-1", reason: "HeartbeatStale" },
      { ...write, id: "zero\u200bwidth\u202e", nonce: "m" },
    ];
    await store.resources.apply({ group: "odd", epoch: 0, writes }, CALL);
  }

  it("lists the incarnations of all groups, in order", async () => {
    const listed = (await run(["resources", "list", "--store", url, "--json"])).json<Listed>();
    expect(listed.more).toBe(false);
    const names = listed.resources.map(({ group, id, incarnation, state }) => `${group}/${id}#${incarnation} ${state}`);
    expect(names).toEqual([
      "odd/web-1#1 PENDING",
      "odd/zero\u200bwidth\u202e#1 PENDING",
      "web/web-0#1 PROVISIONED",
      "web/web-1#1 PROVISIONED",
      expect.stringMatching(/^web\/web-2#1 (FAILED|TERMINATING)$/),
      "web/web-2#2 PROVISIONED",
    ]);
    expect(listed.resources[2]).toMatchObject({ externalId: "pid-web-0-1", heartbeatAgeMs: expect.any(Number) });
    expect(listed.resources[2]).not.toHaveProperty("spec");
  });

  it("lists those of a group, of a state, and no more than asked for", async () => {
    const of = async (...argv: string[]) =>
      (await run(["resources", "list", "--store", url, "--json", ...argv])).json<Listed>();
    expect((await of("--group", "web")).resources).toHaveLength(4);
    expect((await of("--state", "PROVISIONED")).resources.map(({ id }) => id)).toEqual(["web-0", "web-1", "web-2"]);
    expect(await of("--limit", "3")).toMatchObject({ more: true, resources: [{}, {}, { id: "web-0" }] });
    expect(await of("--limit", "6")).toMatchObject({ more: false });
    expect((await of("--group", "none")).resources).toEqual([]);
  });

  it("prints a table in which nothing reaches the terminal that it would act upon", async () => {
    const { stdout, stderr, status } = await run(["resources", "list", "--store", url, "--limit", "4"], {
      terminal: true,
    });
    expect(status).toBe(0);
    const [head = "", ...rows] = stdout.trimEnd().split("\n");
    expect(head).toMatch(/^GROUP +ID +INC +STATE +GEN +HEARTBEAT +LEASE +REASON$/);
    expect(rows).toHaveLength(4);
    expect(rows[0]).toMatch(/^odd +web-1 .* HeartbeatStale$/);
    expect(rows[1]).toContain("zero\\u200bwidth\\u202e");
    expect(rows[2]).toMatch(/^web +web-0 +1 +PROVISIONED +1 +\d.* ago +- /);
    expect(stderr).toMatch(/there are more than 4: say --limit/);
  });

  it("shows one with all its incarnations, the newest first", async () => {
    const { stdout, status } = await run(["resources", "show", "web-2", "--store", url, "--spec"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^desired +yes, in generation 2$/m);
    expect([...stdout.matchAll(/^incarnation +(\d)$/gm)].map(([, number]) => number)).toEqual(["2", "1"]);
    expect(stdout).toMatch(/^generation +1, of 2 desired$/m);
    expect(stdout).toMatch(/^spec +\{"image":"v1"\}$/m);
    expect(stdout).toMatch(/^external id +pid-web-2-2$/m);
    expect(stdout).toMatch(/^heartbeat +- *$/m);
    expect(stdout).toMatch(/^reason +HeartbeatStale|^reason +\w+/m);
  });

  it("shows what is desired and not there, and what is there and not desired", async () => {
    const show = async (id: string, ...argv: string[]) =>
      (await run(["resources", "show", id, "--store", url, "--json", ...argv])).json<{ resource: object }>().resource;
    expect(await show("web-9")).toEqual({
      ...{ group: "web", generation: 2, incarnations: [] },
      desired: { deletionCost: 0 },
    });
    expect(await show("web-1", "--group", "odd")).toMatchObject({
      desired: null,
      incarnations: [{ state: "PENDING" }],
    });
    expect(await show("web-1", "--group", "web", "--spec")).toMatchObject({
      desired: { deletionCost: 7, spec: { image: "v2" } },
      incarnations: [{ spec: { image: "v1" } }],
    });
  });

  it("refuses an id that several groups have, and one that none has", async () => {
    const several = await run(["resources", "show", "web-1", "--store", url]);
    expect(several).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/the groups odd, web have one: say --group/),
    });
    const none = await run(["resources", "show", "web-77", "--store", url]);
    expect(none).toMatchObject({ status: 1, stdout: "", stderr: "there is no resource web-77\n" });
  });

  it.each([
    ["api-7", true],
    ["api-07", false],
    ["api-8", false],
    ["api-", false],
    ["api--1", false],
    ["other-1", false],
  ])("knows by a number whether %s is desired", async (id, isDesired) => {
    const own = await newSqliteUrl();
    const store = sqliteStore(fileOf(own));
    await new ResourceLedger({ store, group: "api" }).setDesired(8);
    await store.close();
    expect((await run(["resources", "show", id, "--store", own])).status).toBe(isDesired ? 0 : 1);
  });
});

describe("evenkeel resources where a row of one group can't be read", () => {
  let url: string;

  beforeAll(async () => {
    url = await newSqliteUrl();
    const store = sqliteStore(fileOf(url));
    const write = { kind: "create" as const, after: 0, state: "PENDING" as const, generation: 1, attempt: 1 };
    for (const group of ["api", "web", "xyz"]) {
      await store.resources.apply({ group, epoch: 0, writes: [{ ...write, id: `${group}-1`, nonce: group }] }, CALL);
    }
    await store.close();
    const file = openDatabase(fileOf(url));
    file.exec("UPDATE evenkeel_resources SET state = 'BOGUS' WHERE id = 'web-1'");
    file.close();
  });

  const UNREADABLE = /^evenkeel: the group web can't be read: [^\n]+\n$/;

  it("lists the others, names the group, and ends with 1", async () => {
    const people = await run(["resources", "list", "--store", url]);
    expect(people).toMatchObject({ status: 1, stderr: expect.stringMatching(UNREADABLE) });
    expect(people.stdout).toMatch(/^api .*\nxyz .*\n$/m);
    const programs = await run(["resources", "list", "--store", url, "--json"]);
    expect(programs).toMatchObject({ status: 1, stderr: expect.stringMatching(UNREADABLE) });
    expect(programs.json()).toMatchObject({
      resources: [{ id: "api-1" }, { id: "xyz-1" }],
      unreadable: [{ group: "web", why: expect.any(String) }],
    });
    const alone = await run(["resources", "list", "--store", url, "--group", "web"]);
    expect(alone).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(UNREADABLE) });
  });

  it("shows one of a sound group, and does not call absent what may be in the other", async () => {
    const shown = await run(["resources", "show", "api-1", "--store", url]);
    expect(shown).toMatchObject({ status: 1, stderr: expect.stringMatching(UNREADABLE) });
    expect(shown.stdout).toMatch(/^id +api-1$/m);
    expect(await run(["resources", "show", "api-1", "--group", "api", "--store", url])).toMatchObject({ status: 0 });
    for (const id of ["web-1", "none-1"]) {
      const none = await run(["resources", "show", id, "--store", url]);
      expect(none).toMatchObject({
        status: 1,
        stdout: "",
        stderr: expect.stringMatching(/the group web can't be read/),
      });
      expect(none.stderr).toMatch(/there is no resource .* that can be read/);
    }
  });
});

/** The same over a server, which is asked page by page. */
async function listsMany(url: string, prefix: string): Promise<void> {
  const store = await openStore(url, { prefix });
  try {
    const write = { kind: "create" as const, after: 0, state: "PROVISIONED" as const, generation: 1, attempt: 1 };
    const writes = Array.from({ length: 1_100 }, (_, n) => ({ ...write, id: `many-${n}`, nonce: `${n}` }));
    await store.resources.apply({ group: "many", epoch: 0, writes }, CALL);
  } finally {
    await store.close();
  }
  const argv = ["--store", url, "--prefix", prefix, "--json"];
  const listed = (await run(["resources", "list", "--limit", "2000", ...argv])).json<Listed>();
  expect(listed).toMatchObject({ more: false });
  expect(new Set(listed.resources.map(({ id }) => id)).size).toBe(1_100);
  expect(await run(["resources", "show", "many-1099", ...argv])).toMatchObject({ status: 0 });
}

describeRedis("evenkeel resources over Redis", () => {
  it("lists more than a page", () => listsMany(redisUrl(), "cli-resources:"));
});

describePostgres("evenkeel resources over PostgreSQL", () => {
  it("lists more than a page", async () => listsMany(await databaseUrl(), "cli_"));
});
