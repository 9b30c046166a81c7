import { describe, expect, it, vi } from "vitest";
import { TerminalError } from "../../src/resources/action-errors.ts";
import type { ActionContext, CreateResult, ResourceRecord } from "../../src/resources/resource.ts";
import type { ResourceRow } from "../../src/store.ts";
import { CALL, deferred, GROUP, setUp, thrownBy } from "./ledger-set-up.ts";

type Create = (resource: ResourceRecord<unknown>, ctx: ActionContext) => Promise<CreateResult>;
const made: Create = async () => ({ externalId: "vm-1" });

describe("provision", () => {
  it("writes PENDING before it calls create, then PROVISIONED with what that returned", async () => {
    const { ledger, row, clock } = setUp();
    let during: unknown;
    const { resource, created } = await ledger<{ size: string }>().provision("a", {
      spec: { size: "small" },
      create: async (pending, ctx) => {
        during = { ...(await row()), seen: pending, ctx };
        await clock.set(clock.now() + 5);
        return { externalId: "vm-1" };
      },
    });
    const first = { group: GROUP, id: "a", incarnation: 1, spec: { size: "small" }, generation: 0 };
    expect(during).toMatchObject({
      state: "PENDING",
      attempt: 1,
      leaseExpiresAt: resource.createdAt + 30_000,
      seen: { ...first, state: "PENDING", version: 1 },
      ctx: { attempt: 1, fencingToken: resource.fencingToken, idempotencyKey: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(created).toBe(true);
    expect(resource).toEqual({
      ...first,
      fencingToken: expect.any(Number),
      state: "PROVISIONED",
      externalId: "vm-1",
      createdAt: expect.any(Number),
      provisionedAt: resource.createdAt + 5,
      version: 2,
    });
    expect((await row())?.leaseExpiresAt).toBeUndefined();
  });

  it("returns a PROVISIONED resource as it is, by one read, whatever spec is asked for now", async () => {
    const { ledger, log } = setUp();
    const first = await ledger().provision("a", { spec: { size: 1 }, create: made });
    const before = log.total;
    const create = vi.fn(made);
    const again = await ledger().provision("a", { spec: { size: 2 }, create });
    expect(again).toEqual({ resource: first.resource, created: false });
    expect(create).not.toHaveBeenCalled();
    expect(log.operations.slice(before)).toEqual(["resources.get"]);
  });

  it("lets one of many callers create, and tells the others when to come back", async () => {
    const { ledger, clock } = setUp();
    const running = deferred<CreateResult>();
    const create = vi.fn(() => running.promise);
    const calls = Array.from({ length: 20 }, () => ledger().provision("a", { create }));
    const settled = Promise.allSettled(calls);
    await clock.advance(1_000);
    running.resolve({ externalId: "vm-1" });
    const results = await settled;
    const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    expect(create).toHaveBeenCalledTimes(1);
    expect(errors).toHaveLength(19);
    for (const error of errors) expect(error).toMatchObject({ code: "IN_PROGRESS", retryAfterMs: 30_000 });
    expect(await ledger().provision("a", { create })).toMatchObject({
      created: false,
      resource: { externalId: "vm-1" },
    });
  });

  it("renews its lease for as long as create runs, so that nobody takes over", async () => {
    const { ledger, clock } = setUp();
    const running = deferred<CreateResult>();
    const call = ledger().provision("a", { create: () => running.promise });
    await clock.advance(3_600_000);
    const error = await thrownBy(ledger().provision("a", { create: made }));
    expect(error).toMatchObject({ code: "IN_PROGRESS" });
    expect((error as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(15_000);
    running.resolve({});
    expect(await call).toMatchObject({ created: true, resource: { state: "PROVISIONED" } });
  });

  it.each(["FAILED", "TERMINATED"] as const)("makes the next incarnation beside one that is %s", async (state) => {
    const { ledger, write, changeTo } = setUp();
    await changeTo(await write({ state: "PROVISIONED" }), state);
    const keys: string[] = [];
    const create: Create = async (_, ctx) => ({ externalId: String(keys.push(ctx.idempotencyKey)) });
    expect(await ledger().provision("a", { create })).toMatchObject({
      created: true,
      resource: { incarnation: 2, state: "PROVISIONED" },
    });
    expect(keys).toHaveLength(1);
  });

  it("says IN_PROGRESS while the resource is TERMINATING", async () => {
    const { ledger, write, changeTo, row } = setUp();
    await changeTo(await write({ state: "PROVISIONED" }), "TERMINATING");
    const error = await thrownBy(ledger().provision("a", { create: made }));
    expect(error).toMatchObject({ code: "IN_PROGRESS", retryable: true, retryAfterMs: 1_000 });
    expect(await row()).toMatchObject({ incarnation: 1, state: "TERMINATING" });
  });
});

describe("a create that throws", () => {
  it.each([new Error("quota"), new TerminalError("no such image"), "a string", undefined])(
    "has %s thrown as it is, and is repeated at once under the same key as the next attempt",
    async (error) => {
      const { ledger, row } = setUp();
      const contexts: ActionContext[] = [];
      const failing: Create = async (_, ctx) => {
        contexts.push(ctx);
        throw error;
      };
      expect(await thrownBy(ledger().provision("a", { spec: 1, create: failing }))).toBe(error);
      const left = await row();
      expect(left).toMatchObject({ state: "PENDING", incarnation: 1, attempt: 1, reason: "CreateFailed" });
      expect(left?.leaseExpiresAt).toBeUndefined();
      const specs: unknown[] = [];
      const create: Create = async ({ spec }, ctx) => {
        contexts.push(ctx);
        specs.push(spec);
        return {};
      };
      const { resource } = await ledger().provision("a", { spec: 2, create });
      expect(resource).toMatchObject({ state: "PROVISIONED", incarnation: 1, spec: 1 });
      expect(resource.reason).toBeUndefined();
      // The spec belongs to the key.
      expect(specs).toEqual([1]);
      const [first, second] = contexts;
      expect(second).toMatchObject({ attempt: 2, idempotencyKey: first?.idempotencyKey });
      expect(second?.fencingToken).toBeGreaterThan(first?.fencingToken as number);
    },
  );

  it("has its error thrown also when the store can't be told", async () => {
    const { ledger, clock } = setUp({
      faults: [2, 3, 4].map((nth) => ({ on: "resources.apply", nth, fault: "hangBefore" })),
    });
    const error = new Error("quota");
    const thrown = thrownBy(ledger().provision("a", { create: () => Promise.reject(error) }));
    await clock.advance(5_000);
    expect(await thrown).toBe(error);
  });

  it("may throw without being asynchronous", async () => {
    const { ledger } = setUp();
    const create = () => {
      throw new RangeError("at once");
    };
    await expect(ledger().provision("a", { create })).rejects.toThrow(RangeError);
  });
});

describe("a process that fell silent inside create", () => {
  /** One that neither renews nor writes any more. */
  async function silenced() {
    const world = setUp();
    const { ledger, store, clock } = world;
    const contexts: ActionContext[] = [];
    const running = deferred<CreateResult>();
    let cut = false;
    const resources = {
      ...store.resources,
      apply: (...args: Parameters<typeof store.resources.apply>) =>
        cut ? new Promise<never>(() => {}) : store.resources.apply(...args),
    };
    const victim = ledger({ store: { ...store, resources } }).provision("a", {
      create: (_, ctx) => {
        contexts.push(ctx);
        return running.promise;
      },
    });
    const outcome = victim.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    await clock.advance(0);
    cut = true;
    return { ...world, contexts, running, outcome };
  }

  it("is followed at the end of its lease and not before, under the same key and a higher token", async () => {
    const { ledger, clock, contexts, outcome } = await silenced();
    const create: Create = async (_, ctx) => {
      contexts.push(ctx);
      return { externalId: "vm-2" };
    };
    await clock.advance(29_999);
    expect(await thrownBy(ledger().provision("a", { create }))).toMatchObject({ code: "IN_PROGRESS", retryAfterMs: 1 });
    await clock.advance(1);
    const { resource, created } = await ledger().provision("a", { create });
    expect({ ...resource, created }).toMatchObject({ incarnation: 1, externalId: "vm-2", created: true });
    const [first, second] = contexts;
    expect(second).toMatchObject({ attempt: 2, idempotencyKey: first?.idempotencyKey });
    expect(second?.fencingToken).toBeGreaterThan(first?.fencingToken as number);
    expect(first?.signal.aborted).toBe(true);
    await outcome;
    // The renewal that hung is given up.
    await clock.advance(5_000);
  });

  it("is LEASE_LOST for its own caller when the other one has not finished", async () => {
    const { clock, outcome, running } = await silenced();
    await clock.advance(30_000);
    expect(await outcome).toMatchObject({ error: { code: "LEASE_LOST", retryable: true } });
    running.resolve({ externalId: "too late" });
    await clock.advance(5_000);
  });

  it("gives its own caller what the other one has made, where that was first", async () => {
    const { ledger, clock, write, row } = setUp();
    const running = deferred<CreateResult>();
    const victim = ledger().provision("a", { create: () => running.promise });
    await clock.advance(0);
    // The whole process stood still: none of its timers fired, and when it goes on the row is another one's.
    const { version: expectedVersion } = (await row()) as { version: number };
    const finished = { state: "PROVISIONED", externalId: "vm-2", attempt: 2 } as const;
    await write({ kind: "update", id: "a", incarnation: 1, expectedVersion, ...finished });
    running.resolve({ externalId: "vm-1" });
    expect(await victim).toMatchObject({ created: false, resource: { state: "PROVISIONED", externalId: "vm-2" } });
    expect(await row()).toMatchObject({ externalId: "vm-2" });
  });

  it("is LEASE_LOST where the resource was given up meanwhile, and its late answer brings nothing back", async () => {
    const { ledger, clock, changeTo, row } = setUp();
    const running = deferred<CreateResult>();
    const victim = thrownBy(ledger().provision("a", { create: () => running.promise }));
    await clock.advance(0);
    await changeTo((await row()) as ResourceRow, "TERMINATING");
    running.resolve({ externalId: "vm-1" });
    expect(await victim).toMatchObject({ code: "LEASE_LOST", retryAfterMs: 1_000 });
    expect(await row()).toMatchObject({ state: "TERMINATING", version: 2 });
  });
});

describe("what the store does in between", () => {
  it.each(["lostReply", "duplicate", "hangAfter", "lostRequest", "hangBefore"] as const)(
    "calls create once and records it once when the first try of each write suffers a %s",
    async (fault) => {
      const { ledger, clock } = setUp({ faults: [1, 3].map((nth) => ({ on: "resources.apply", nth, fault })) });
      const create = vi.fn(made);
      const call = ledger().provision("a", { create });
      await clock.advance(10_000);
      expect(await call).toMatchObject({ created: true, resource: { version: 2 } });
      expect(create).toHaveBeenCalledTimes(1);
    },
  );

  it("is STORE_UNAVAILABLE after create has run, and the next call goes on with the same key", async () => {
    let down = false;
    const { ledger, clock } = setUp({
      decide: ({ operation }) => (down && operation === "resources.apply" ? "lostRequest" : undefined),
    });
    const keys: string[] = [];
    const create: Create = async (_, ctx) => {
      keys.push(ctx.idempotencyKey);
      down = keys.length === 1;
      return { externalId: `vm-${keys.length}` };
    };
    const thrown = thrownBy(ledger().provision("a", { create }));
    await clock.advance(5_000);
    expect(await thrown).toMatchObject({ code: "STORE_UNAVAILABLE" });
    down = false;
    await clock.advance(25_000);
    expect(await ledger().provision("a", { create })).toMatchObject({
      created: true,
      resource: { externalId: "vm-2" },
    });
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(1);
  });

  it("refuses to act on a row that it can't understand", async () => {
    const { ledger, log, write } = setUp({}, (inner) => ({
      get: async (...args) => ({ ...(await inner.get(...args)), state: "GONE" }) as never,
    }));
    await write({});
    const create = vi.fn(made);
    const error = await thrownBy(ledger().provision("a", { create }));
    expect(error).toMatchObject({ code: "RECORD_CORRUPT", message: expect.stringContaining('"a" has no valid state') });
    expect(create).not.toHaveBeenCalled();
    expect(log.count("resources.apply")).toBe(0);
  });

  it("gives up with IN_PROGRESS when others win every race", async () => {
    const { ledger, log } = setUp({}, () => ({
      apply: async () => ({ status: "decided", results: [{ status: "conflict" }] }),
    }));
    expect(await thrownBy(ledger().provision("a", { create: made }))).toMatchObject({ code: "IN_PROGRESS" });
    expect(log.count("resources.apply")).toBe(5);
  });
});

describe("a leader elsewhere", () => {
  it("neither stops a provision nor one that is under way, whose lease goes on", async () => {
    const { ledger, clock, write, inner } = setUp();
    await write({ id: "other" }, 7);
    const running = deferred<CreateResult>();
    const call = ledger().provision("a", { create: () => running.promise });
    await clock.advance(0);
    await write({ id: "another" }, 8);
    await clock.advance(60_000);
    await write({ id: "a third" }, 9);
    running.resolve({ externalId: "vm-1" });
    expect(await call).toMatchObject({ created: true, resource: { state: "PROVISIONED" } });
    expect(await inner.resources.getDesired(GROUP, CALL)).toMatchObject({ epoch: 9 });
  });

  it("that changes at each try is FENCED in the end", async () => {
    let epoch = 0;
    const { ledger, log } = setUp({}, () => ({
      apply: async () => {
        epoch += 1;
        return { status: "fenced", epoch };
      },
    }));
    const error = await thrownBy(ledger().provision("a", { create: made }));
    expect(error).toMatchObject({ code: "FENCED" });
    expect(log.count("resources.apply")).toBe(5);
  });
});

describe("what provision is given", () => {
  it.each([
    [null, "must return nothing or an object"],
    ["vm-1", "must return nothing or an object"],
    [[], "must return nothing or an object"],
    [{ externalId: 17 }, "the externalId that create of"],
    [{ externalId: "" }, "the externalId that create of"],
    [{ externalId: "a\u0000b" }, "the externalId that create of"],
  ])("may not have %j returned by create; the row stays PENDING, free for the next call", async (returned, says) => {
    const { ledger, row } = setUp();
    const error = await thrownBy(ledger().provision("a", { create: async () => returned as never }));
    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: expect.stringContaining(says) });
    expect(await row()).toMatchObject({ state: "PENDING" });
    expect(await ledger().provision("a", { create: made })).toMatchObject({ created: true });
  });

  it.each([undefined, {}, { id: "of an API", externalId: undefined }])(
    "may have %j returned by create",
    async (returned) => {
      const { ledger } = setUp();
      const { resource } = await ledger().provision("a", { create: async () => returned as never });
      expect(resource.externalId).toBeUndefined();
      expect(resource.state).toBe("PROVISIONED");
    },
  );

  it.each([
    ["", { create: made }, "id must be"],
    ["a\n", { create: made }, "id must be"],
    ["x".repeat(256), { create: made }, "id must be"],
    [7 as never, { create: made }, "id must be"],
    ["a", undefined as never, "options must be an object"],
    ["a", {} as never, "create must be a function"],
    ["a", { create: 7 } as never, "create must be a function"],
    ["a", { create: made, retries: 3 } as never, "retries is not an option"],
    ["a", { create: made, spec: () => {} }, "the spec of \"a\" can't be stored: A function can't be stored."],
  ])("is refused before anything is written: %j with %o", async (id, options, says) => {
    const { ledger, log } = setUp();
    const error = await thrownBy(ledger().provision(id, options));
    expect(error).toMatchObject({ code: "INVALID_OPTIONS", message: expect.stringContaining(says) });
    expect(log.total).toBe(0);
  });
});
