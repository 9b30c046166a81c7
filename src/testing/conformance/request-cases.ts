import { strict as assert } from "node:assert";
import { assertStatus, assertThere } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";
import { nameOf, ResourceBench, SILENCE_MS } from "./resource-bench.ts";

const DURATION_MS = 600_000;

/**
 * A request is what it is when the call is made, also where the store gets to it later: after a lock, a queue, a connection.
 * These cases ask the store itself, since the invariants go by requests too.
 */
export const requestCases: ConformanceCases = {
  "claims what it was asked to, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const request = bench.request();
    const claim = await spoiling(bench.request(request), (asked) => executions.claim(asked, bench.call));
    assertStatus(claim, "acquired", "claim");
    const again = await executions.claim(request, bench.call);
    assertStatus(again, "acquired", "claim, under the same nonce,");
    assert.equal(again.token, claim.token);
    const view = await executions.get(request.id, bench.call);
    assertStatus(view, "running", "get");
    const { operation, scope, fingerprint, retentionMs } = request;
    assert.deepEqual(
      { operation: view.operation, scope: view.scope, fingerprint: view.fingerprint, retentionMs: view.retentionMs },
      { operation, scope, fingerprint, retentionMs },
    );
    assert.equal(view.key, bench.capabilities.storeKeys ? request.key : undefined);
    bench.assertMs(view.leaseRemainingMs, bench.leaseMs);
  },

  "renews what it was asked to, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const holder = await held(bench);
    const { leaseMs, retentionMs } = bench;
    const request = { ...holder, leaseMs: 2 * leaseMs, retentionMs: 2 * retentionMs };
    const answer = await spoiling(request, (asked) => executions.renew(asked, bench.call));
    assertStatus(answer, "renewed", "renew");
    bench.assertMs(answer.leaseRemainingMs, 2 * leaseMs);
    const view = await executions.get(holder.id, bench.call);
    assertStatus(view, "running", "get");
    bench.assertMs(view.leaseRemainingMs, 2 * leaseMs);
    bench.assertMs(view.expiresInMs, 2 * (leaseMs + retentionMs));
  },

  "completes with what it was given, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const holder = await held(bench);
    const request = { ...holder, outcome: bench.outcome("declined", "error"), retentionMs: bench.retentionMs };
    const answer = await spoiling(request, (asked) => executions.complete(asked, bench.call));
    assertStatus(answer, "committed", "complete");
    bench.assertOutcome(answer, bench.outcome("declined", "error"), "complete");
    const view = await executions.get(holder.id, bench.call);
    bench.assertMs(bench.assertOutcome(view, bench.outcome("declined", "error"), "get").expiresInMs, bench.retentionMs);
  },

  "releases as it was asked to, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const holder = await held(bench);
    const leaseExpiredAt = (await executions.get(holder.id, bench.call))?.createdAt ?? 0;
    const as = { mode: "abandon", attempt: 1, leaseExpiredAt, retentionMs: bench.retentionMs } as const;
    const answer = await spoiling({ ...holder, as }, (asked) => executions.release(asked, bench.call));
    assertStatus(answer, "released", "release");
    const view = await executions.get(holder.id, bench.call);
    assertStatus(view, "abandoned", "get");
    assert.deepEqual(
      { attempt: view.attempt, leaseExpiredAt: view.leaseExpiredAt, retryGranted: view.retryGranted },
      { attempt: 1, leaseExpiredAt, retryGranted: false },
    );
  },

  "records the step that it was given, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const holder = await held(bench);
    const step = { position: 0, name: "reserve", outcome: bench.outcome("seat 12") };
    const answer = await spoiling({ ...holder, step }, (asked) => executions.recordStep(asked, bench.call));
    assertStatus(answer, "recorded", "recordStep");
    await bench.advance(bench.leaseMs);
    const claim = await executions.claim(bench.request(), bench.call);
    assertStatus(claim, "acquired", "claim");
    const [recorded] = claim.steps;
    assertThere(recorded, "the step that claim answers");
    assert.deepEqual([recorded.position, recorded.name], [0, "reserve"]);
    bench.assertOutcome(recorded, bench.outcome("seat 12"), "claim, of a step,");
  },

  "seizes what it was asked to, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    const holder = await held(bench);
    const request = bench.seizure(holder.token, { leaseMs: 2 * bench.leaseMs });
    const answer = await spoiling({ ...request }, (asked) => executions.seize(asked, bench.call));
    assertStatus(answer, "seized", "seize");
    const again = await executions.seize(request, bench.call);
    assertStatus(again, "seized", "seize, under the same nonce,");
    assert.equal(again.token, answer.token);
    bench.assertMs(again.leaseRemainingMs, 2 * bench.leaseMs);
  },

  "sees the newest records that it was asked for, whatever becomes of the request": async (bench) => {
    const { executions } = bench.store;
    for (const name of ["a", "b", "c"]) await executions.claim(bench.request({ id: bench.id(name) }), bench.call);
    const request = { operation: "charge", limit: 2 };
    assert.equal((await spoiling(request, (asked) => executions.recent(asked, bench.call))).length, 2);
  },

  "acquires, renews and releases the lease that it was asked to, whatever becomes of the requests": async (bench) => {
    const { leases } = bench.store;
    const asked = { name: "leader", holder: "a", nonce: bench.nonce(), durationMs: DURATION_MS };
    const acquired = await spoiling({ ...asked }, (request) => leases.acquire(request, bench.call));
    assertStatus(acquired, "acquired", "acquire");
    const again = await leases.acquire(asked, bench.call);
    assertStatus(again, "acquired", "acquire, under the same nonce,");
    const { epoch } = acquired;
    assert.equal(again.epoch, epoch);
    const renewal = { name: "leader", holder: "a", epoch, durationMs: 2 * DURATION_MS };
    const renewed = await spoiling(renewal, (request) => leases.renew(request, bench.call));
    assertStatus(renewed, "renewed", "renew");
    const view = await leases.get("leader", bench.call);
    assertThere(view, "the lease that get answers");
    assert.deepEqual([view.holder, view.durationMs, view.renewals], ["a", 2 * DURATION_MS, 1]);
    bench.assertMs(view.remainingMs, 2 * DURATION_MS);
    const released = await spoiling({ name: "leader", holder: "a", epoch }, (r) => leases.release(r, bench.call));
    assertStatus(released, "released", "release");
    assert.equal(await leases.get("leader", bench.call), undefined);
  },

  "writes the resources that it was asked to, whatever becomes of the requests": async (bench) => {
    const { resources, group } = new ResourceBench(bench);
    const lease = { durationMs: DURATION_MS, token: "grant" } as const;
    const ledger = new ResourceBench(bench);
    const write = { ...ledger.creation({ spec: "as asked", fence: "shard" }), lease };
    const fences = [{ name: "shard", epoch: 5 }];
    const request = { group, epoch: 2, writes: [write], fences, status: "as told" };
    const answer = await spoiling(request, (asked) => resources.apply(asked, bench.call));
    assertStatus(answer, "decided", "apply");
    const row = await resources.get(group, "web-1", bench.call);
    assert.equal(row?.spec, "as asked");
    assert.equal(row?.state, "PENDING");
    bench.assertMs((row?.leaseExpiresAt ?? 0) - (row?.stateChangedAt ?? 0), DURATION_MS);
    const lower = await ledger.apply([], { epoch: 2, fences: [{ name: "shard", epoch: 4 }] });
    assert.deepEqual(lower, { status: "decided", results: [], fences: [{ name: "shard", epoch: 5 }] });
    const wish = { group, epoch: 2, nonce: bench.nonce(), desired: "as wished" };
    const set = await spoiling(wish, (asked) => resources.setDesired(asked, bench.call));
    assertStatus(set, "set", "setDesired");
    const { desired, status } = (await resources.getDesired(group, bench.call)) ?? {};
    assert.deepEqual({ desired, status }, { desired: "as wished", status: "as told" });
    const next = { ...wish, nonce: bench.nonce(), desired: "as wished then", epoch: 2, group, ifGeneration: 1 };
    const changed = await spoiling(next, (asked) => resources.setDesired(asked, bench.call));
    assert.deepEqual(changed, { status: "set", generation: 2 });
    const beat = { group, beats: [{ id: "web-1", incarnation: 1 }] };
    const beaten = await spoiling(beat, (asked) => resources.heartbeat(asked, bench.call));
    assert.deepEqual(beaten, [{ status: "accepted" }]);
  },

  "reads and purges the resources that it was asked to, whatever becomes of the requests": async (bench) => {
    const ledger = new ResourceBench(bench);
    const { resources, group } = ledger;
    await ledger.madeAll(["a", "b", "c"], { state: "PROVISIONED" });
    await ledger.made({ id: "d", state: "TERMINATED" });
    await ledger.applied(ledger.creation(), { group: "others" });
    await bench.advance(SILENCE_MS + 1);
    const page = { group, states: ["PROVISIONED" as const], limit: 10, after: { id: "a", incarnation: 1 } };
    const listed = await spoiling(page, (asked) => resources.list(asked, bench.call));
    assert.deepEqual(listed.map(nameOf), ["b/1", "c/1"]);
    const changes = { group, limit: 10 };
    const changed = await spoiling(changes, (asked) => resources.changedSince(asked, bench.call));
    assert.deepEqual(changed.rows.map(nameOf), ["a/1", "b/1", "c/1", "d/1"]);
    const silence = { group, ageMs: SILENCE_MS, limit: 10 };
    const stale = await spoiling({ ...silence }, (asked) => resources.staleBefore(asked, bench.call));
    assert.deepEqual(stale.rows.map(nameOf), ["a/1", "b/1", "c/1"]);
    const old = await spoiling({ ...silence }, (asked) => resources.purge(asked, bench.call));
    assert.deepEqual(old, { purged: 1 });
    const groups = await spoiling({ limit: 10, after: "a" }, (asked) => resources.listGroups(asked, bench.call));
    assert.deepEqual(groups, ["others", group]);
  },
};

async function held(bench: Bench) {
  const request = bench.request();
  const claim = await bench.store.executions.claim(request, bench.call);
  assertStatus(claim, "acquired", "claim");
  return { id: request.id, token: claim.token, nonce: request.nonce };
}

/** Makes a call, and at once another request of everything that the caller still has in hand. */
function spoiling<Request extends object, Result>(
  request: Request,
  call: (request: Request) => Promise<Result>,
): Promise<Result> {
  const answer = call(request);
  spoil(request);
  return answer;
}

function spoil(part: object): void {
  if (part instanceof Uint8Array) {
    part.fill(0);
    return;
  }
  const fields = part as Record<string, unknown>;
  for (const [name, value] of Object.entries(part)) {
    if (typeof value === "object" && value !== null) spoil(value);
    else if (typeof value === "number") fields[name] = value === 1 ? 2 : 1;
    else if (typeof value === "string") fields[name] = `not ${value}`;
  }
  if (Array.isArray(part)) part.length = 0;
}
