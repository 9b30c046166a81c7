import { ManualClock } from "evenkeel/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Finding } from "../../../adapters/cli/doctor-check.ts";
import { examineLedger } from "../../../adapters/cli/doctor-ledger.ts";
import { DOCTOR_LIMITS, type DoctorLimits } from "../../../adapters/cli/doctor-limits.ts";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { systemClock } from "../../../src/clock.ts";
import {
  fixedThreshold,
  type LedgerStore,
  Reconciler,
  ResourceLedger,
  ShardCoordinator,
  withIdempotency,
} from "../../../src/index.ts";
import { systemRandom } from "../../../src/random.ts";
import { storeOperation } from "../../../src/store-operation.ts";
import { fakeLeader } from "../../reconcile/reconciler-kit.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";
import { until } from "../../support/until.ts";

const CALL = { timeoutMs: 20_000 };
const HOUR = 3_600_000;

describe("evenkeel doctor of a ledger's records", () => {
  const { folder, database } = useTemporaryFolder();
  let clock: ManualClock;
  let store: LedgerStore;

  beforeEach(() => {
    clock = new ManualClock();
    store = sqliteStore(folder.file("ledger.db"), { clock });
  });
  afterEach(() => store.close());

  async function look(limits: Partial<DoctorLimits> = {}, meanwhile: () => Promise<unknown> = async () => {}) {
    const examination = await examineLedger({
      store,
      // Its time is the ledger's, and what happens while it waits is over when it has waited.
      clock: { ...systemClock, now: () => clock.now(), sleep: async () => void (await meanwhile()) },
      limits: { ...DOCTOR_LIMITS, ...limits },
      ask: (send) => storeOperation({ clock: systemClock, random: systemRandom, budgetMs: 20_000, send }),
    });
    return { ...examination, of: (id: string): Finding[] => examination.findings.filter((found) => found.id === id) };
  }

  describe("of executions", () => {
    const LEASE = { leaseMs: 30_000, retentionMs: 24 * HOUR };
    const id = (digit: number): string => String(digit).repeat(64);

    async function claim(digit: number, operation: string, onAbandoned: "takeover" | "report" = "takeover") {
      const request = { id: id(digit), operation, scope: "", key: `key-${digit}`, nonce: `n${digit}-${clock.now()}` };
      const claimed = await store.executions.claim({ ...request, ...LEASE, onAbandoned }, CALL);
      if (claimed.status !== "acquired") throw new Error(`it is ${claimed.status}`);
      return { id: request.id, nonce: request.nonce, token: claimed.token };
    }

    it("finds nothing where work is done in time", async () => {
      await withIdempotency(() => "paid", { store, operation: "pay" })({}, { key: "a" });
      await claim(1, "ship");
      const { findings, unknown, fine } = await look();
      expect({ findings, unknown }).toEqual({ findings: [], unknown: [] });
      for (const what of ["abandoned", "stuck", "many-attempts", "expired"])
        expect(fine).toContain(`executions-${what}`);
    });

    it("finds those whose process fell silent, unless somebody has decided that they are tried again", async () => {
      await claim(1, "pay");
      const granted = await claim(2, "pay");
      await store.executions.release({ ...granted, as: { mode: "retry", attempt: 1, retentionMs: HOUR } }, CALL);
      await clock.advance(LEASE.leaseMs + 1);
      expect((await look()).of("executions-abandoned")).toEqual([]);
      await clock.advance(5 * 60_000);
      const { findings } = await look();
      expect(findings).toMatchObject([
        {
          id: "executions-abandoned",
          severity: "warning",
          what: expect.stringMatching(/^1 execution was .* of "pay"/),
        },
      ]);
      expect(JSON.stringify(findings)).not.toContain("key-");
    });

    it("names no operation at the length of a megabyte", async () => {
      await claim(1, "pay".repeat(350_000));
      await clock.advance(HOUR);
      const [finding] = (await look()).of("executions-abandoned");
      expect(finding?.what).toContain("paypay");
      expect(finding?.what.length).toBeLessThan(400);
    });

    it("finds one that is renewed for ever", async () => {
      const holder = await claim(1, "import");
      for (let minute = 0; minute < 70; minute += 1) {
        await clock.advance(20_000);
        await store.executions.renew({ ...holder, ...LEASE }, CALL);
      }
      expect((await look()).of("executions-stuck")).toEqual([]);
      expect((await look({ runningMs: 20 * 60_000 })).of("executions-stuck")).toMatchObject([
        { severity: "warning", what: expect.stringMatching(/longest for 23 m 20 s, of "import"/) },
      ]);
    });

    it("finds one that no process survives", async () => {
      for (let attempt = 1; attempt <= 10; attempt += 1) {
        await claim(1, "render");
        await clock.advance(LEASE.leaseMs + 1);
      }
      expect((await look()).of("executions-many-attempts")).toMatchObject([
        { what: expect.stringMatching(/attempt 10/) },
      ]);
    });

    it("finds expired records that nobody purges", async () => {
      const pay = withIdempotency(() => "paid", { store, operation: "pay", retentionMs: 1_000, clock });
      await Promise.all(Array.from({ length: 30 }, (_, key) => pay({}, { key: `${key}` })));
      expect((await look({ expired: 30 })).of("executions-expired")).toEqual([]);
      await clock.advance(1_001);
      expect((await look({ expired: 30 })).of("executions-expired")).toMatchObject([{ severity: "hint" }]);
      await store.executions.purge({ limit: 100 }, CALL);
      expect((await look({ expired: 30 })).of("executions-expired")).toEqual([]);
    });
  });

  describe("of groups", () => {
    const reconciler = (options: object = {}) =>
      new Reconciler({
        ...{ name: "web", store, clock, staleness: fixedThreshold({ staleAfterMs: 30_000 }) },
        create: async () => {},
        terminate: async () => {},
        ...options,
      });

    it("finds nothing where a group is as desired", async () => {
      const web = reconciler();
      await web.setDesired(12);
      await web.reconcile();
      await web.reconcile();
      const { findings, unknown, fine } = await look();
      expect({ findings, unknown }).toEqual({ findings: [], unknown: [] });
      expect(fine).toEqual(expect.arrayContaining(["group-not-converged", "group-not-observed", "resources-silent"]));
    });

    it("finds a group that is not converged for long, and says since when and why", async () => {
      const web = reconciler({ create: () => Promise.reject(new Error("no room")) });
      await web.setDesired(3);
      await web.reconcile();
      expect((await look()).of("group-not-converged")).toEqual([]);
      await clock.advance(HOUR);
      expect((await look()).of("group-not-converged")).toMatchObject([
        { severity: "warning", subject: "web", what: expect.stringMatching(/not converged for 1 h/) },
      ]);
    });

    it("finds a group that nobody looks at", async () => {
      await new ResourceLedger({ store, group: "web" }).setDesired(3);
      expect((await look()).of("group-not-observed")).toMatchObject([
        { severity: "warning", what: expect.stringMatching(/no reconciler has ever/) },
      ]);
      const web = reconciler();
      await web.reconcile();
      expect((await look()).of("group-not-observed")).toEqual([]);
      await new ResourceLedger({ store, group: "web" }).setDesired(5);
      expect((await look()).of("group-not-observed")).toMatchObject([
        { what: expect.stringMatching(/2 .*has seen 1/) },
      ]);
    });

    it("says nothing of one that is looked at a moment later", async () => {
      await new ResourceLedger({ store, group: "web" }).setDesired(3);
      expect((await look({}, () => reconciler().reconcile())).of("group-not-observed")).toEqual([]);
    });

    it("finds what a reconciler complains of", async () => {
      let broken: "no" | "observe" | "desired" | "empty" = "no";
      const web = reconciler({
        desired: () => {
          if (broken === "desired") throw new Error("no answer");
          return broken === "empty" ? [] : 12;
        },
        observe: () => {
          if (broken === "observe") throw new Error("no answer");
          return Array.from({ length: 12 }, (_, index) => ({ id: `web-${index}`, lastHeartbeatAt: clock.now() }));
        },
      });
      await web.reconcile();
      for (const [fault, id] of [
        ["observe", "condition-observe-failed"],
        ["desired", "condition-desired-failed"],
        ["empty", "condition-unconfirmed-empty"],
      ] as const) {
        broken = fault;
        await web.reconcile();
        expect((await look()).of(id), id).toMatchObject([{ severity: "warning", subject: "web" }]);
        broken = "no";
        await web.reconcile();
        expect((await look()).of(id), id).toEqual([]);
      }
    });

    it("finds resources that fell silent together, and that are silent for long", async () => {
      const web = reconciler();
      await web.setDesired(12);
      await web.reconcile();
      const ledger = new ResourceLedger({ store, group: "web", clock });
      for (let index = 0; index < 12; index += 1) await ledger.heartbeat(`web-${index}`);
      await clock.advance(31_000);
      await web.reconcile();
      expect((await look()).of("condition-mass-staleness")).toMatchObject([{ what: expect.stringMatching(/Held/) }]);
      expect((await look()).of("resources-silent")).toEqual([]);
      await clock.advance(HOUR);
      expect((await look()).of("resources-silent")).toMatchObject([
        { subject: "web", what: expect.stringMatching(/^12 PROVISIONED .*#1 and 9 more/) },
      ]);
    });

    it("finds creations that nobody goes on with, and terminations that don't end", async () => {
      const apply = (id: string, state: "PENDING" | "TERMINATING", lease?: number) =>
        store.resources.apply(
          {
            group: "web",
            epoch: 0,
            writes: [
              {
                ...{ kind: "create", after: 0, id, nonce: `n-${id}`, state, generation: 1, attempt: 1 },
                ...(lease === undefined ? {} : { lease: { durationMs: lease, token: "grant" as const } }),
              },
            ],
          },
          CALL,
        );
      await apply("a", "PENDING", 30_000);
      await apply("b", "PENDING");
      await apply("c", "TERMINATING");
      expect((await look()).findings).toEqual([]);
      await clock.advance(91_000);
      expect((await look()).findings).toMatchObject([{ id: "resources-pending", what: expect.stringMatching(/a#1$/) }]);
      await clock.advance(HOUR);
      const { of } = await look();
      expect(of("resources-pending")).toMatchObject([{ what: expect.stringMatching(/^2 PENDING.*a#1, b#1/) }]);
      expect(of("resources-terminating")).toMatchObject([{ what: expect.stringMatching(/^1 TERMINATING.*c#1/) }]);
    });

    it("finds a group with work that nobody leads", async () => {
      const acquire = async (nonce: string) => {
        const request = { name: "web-leader", holder: "node-1", nonce, durationMs: 15_000 };
        const lease = await store.leases.acquire(request, CALL);
        return lease.status === "acquired" ? lease.epoch : -1;
      };
      const leader = fakeLeader(await acquire("n1"));
      const web = reconciler({ leader });
      await web.setDesired(3);
      await web.reconcile();
      await clock.advance(16_000);
      // Nothing is to be done.
      expect((await look()).of("group-no-leader")).toEqual([]);
      await new ResourceLedger({ store, group: "web", clock }).setDesired(5);
      expect((await look()).of("group-no-leader")).toMatchObject([{ severity: "error", subject: "web" }]);
      await acquire("n2");
      expect((await look()).of("group-no-leader")).toEqual([]);
    });

    it("finds a group of which a record can't be read", async () => {
      const web = reconciler();
      await web.setDesired(3);
      await web.reconcile();
      database().exec("UPDATE evenkeel_resources SET state = 'banana' WHERE id = 'web-1'");
      expect((await look()).of("resources-unreadable")).toMatchObject([{ severity: "error", subject: "web" }]);
    });
  });

  describe("of divisions", () => {
    const lease = (name: string, holder: string) =>
      store.leases.acquire({ name, holder, nonce: `${name} ${holder}`, durationMs: 15_000 }, CALL);

    it("finds nothing where members divide the shards among them", async () => {
      const own = sqliteStore(folder.file("shards.db"));
      const members = ["node-1", "node/2"].map(
        (member) => new ShardCoordinator({ store: own, name: "a/b", member, shards: 8, clock: systemClock }),
      );
      const ours = store;
      try {
        for (const member of members) member.start();
        await until(
          "all shards are held",
          () => members.reduce((sum, member) => sum + member.ownedShards().length, 0) === 8,
        );
        store = own;
        expect((await look()).findings).toEqual([]);
      } finally {
        await Promise.all(members.map((member) => member.stop()));
        store = ours;
        await own.close();
      }
    });

    it("finds shards that are nobody's while there are members", async () => {
      await lease("shards:pollers/members/node-1", "1 of 8");
      for (const shard of [0, 1, 2, 4, 7]) await lease(`shards:pollers/shards/${shard}`, "node-1 of 8");
      expect((await look()).findings).toMatchObject([
        { id: "shards-unowned", severity: "warning", subject: "pollers", what: expect.stringMatching(/^3 of 8/) },
      ]);
    });

    it("finds members that count the shards differently", async () => {
      await lease("shards:a%2Fb/members/node-1", "1 of 256");
      await lease("shards:a%2Fb/members/node-2", "1 of 512");
      expect((await look()).findings).toMatchObject([
        { id: "shard-counts-differ", severity: "error", subject: "a/b", what: expect.stringMatching(/256 and 512/) },
      ]);
    });
  });
});
