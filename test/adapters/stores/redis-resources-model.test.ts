import { randomUUID } from "node:crypto";
import { createClient, type RedisClientType } from "redis";
import { expect, it } from "vitest";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { redisStore } from "../../../adapters/stores/redis.ts";
import { groupKeys } from "../../../adapters/stores/redis-resources-keys.ts";
import type { Random } from "../../../src/random.ts";
import { silentSince } from "../../../src/resource-heartbeats.ts";
import type {
  Fence,
  LedgerStore,
  ResourceRow,
  ResourceState,
  ResourceStore,
  ResourceWrite,
} from "../../../src/store.ts";
import { ManualClock, seededRandom } from "../../../src/testing/index.ts";
import { describeRedis, redisUrl } from "../../support/engines.ts";
import { timedNodeRedis } from "../../support/redis-time.ts";

const CALL = { timeoutMs: 30_000 };
const STATES: readonly ResourceState[] = ["PENDING", "PROVISIONED", "FAILED", "TERMINATING", "TERMINATED"];
const TEXTS = ["", "plain", "a b - \n \r 1", "\u{1f980}\uffee\u0000é", '{"n":9007199254740993}'];
const FENCES = ["a", "A", "shard 17", "\u{1f980}"];
const NUMBERS = [0, 1, 17, 2 ** 40, Number.MAX_SAFE_INTEGER];
const OPERATIONS = 400;
/** What each run has to come across. */
const MEETS =
  /^\{"status":"fenced"|"fences":\[|applied|conflict|fenced|superseded|accepted|missing|"reset":true|nextInMs/g;

describeRedis("redisStore's resources beside the memory store's", () => {
  it.each([1, 2, 3, 4])("answers whatever is asked as the pure decisions do (seed %i)", async (seed) => {
    const client = createClient({ url: redisUrl() });
    const timed = await timedNodeRedis((await client.connect()) as never);
    const prefix = `test:${randomUUID()}:`;
    const redis = redisStore(timed.client, { keyPrefix: prefix });
    const clock = new ManualClock();
    const memory = memoryStore({ clock });
    try {
      clock.set(await timeOf(redis));
      const pair = new Pair(redis.resources, memory.resources, seededRandom(seed));
      const met = new Set<string>();
      for (let count = 0; count < OPERATIONS; count += 1) {
        const ms = pair.pick([0, 0, 1, 100, 5_000]);
        await Promise.all([timed.advance(ms), clock.advance(ms)]);
        const answer = JSON.stringify(await pair.step()) ?? "";
        for (const [word] of answer.matchAll(MEETS)) met.add(word);
      }
      expect(met.size, `the run came across ${[...met]} alone`).toBe(10);
      for (const group of ["workers", "others"]) await expectWholeIndexes(client as never, groupKeys(prefix, group));
    } finally {
      await redis.close();
      await memory.close();
      await timed.forget();
      client.destroy();
    }
  });
});

/** One ledger twice: each question goes to both, and the answers have to be equal. */
class Pair {
  readonly #stores: readonly [ResourceStore, ResourceStore];
  readonly #random: Random;
  readonly #tokens = [new Map<string, number[]>(), new Map<string, number[]>()] as const;
  readonly #cursors: [string | undefined, string | undefined][] = [[undefined, undefined]];
  readonly #written: ResourceWrite[] = [];
  #rows: readonly ResourceRow[] = [];
  #nonces = 0;
  #epoch = 1;

  constructor(redis: ResourceStore, memory: ResourceStore, random: Random) {
    this.#stores = [redis, memory];
    this.#random = random;
  }

  pick<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random.float() * values.length)] as T;
  }

  async step(): Promise<unknown> {
    const group = this.pick(["workers", "workers", "workers", "others"]);
    const epoch = this.#epoch + (this.#random.float() < 0.1 ? this.pick([1, -1]) : 0);
    this.#epoch = Math.max(this.#epoch, epoch);
    const limit = this.pick([1, 2, 100]);
    switch (this.pick(["apply", "apply", "apply", "beat", "desire", "list", "changes", "stale", "purge", "rest"])) {
      case "apply": {
        const writes = Array.from({ length: this.pick([0, 1, 2, 5]) }, () => this.#write());
        const fences = this.#fences(writes);
        const status = this.pick([undefined, undefined, ...TEXTS]);
        const request = { group, epoch, writes, ...fences, ...(status === undefined ? {} : { status }) };
        return this.#both((store) => store.apply(request, CALL));
      }
      case "beat": {
        const beats = Array.from({ length: this.pick([0, 1, 4]) }, () => {
          const id = this.#id();
          return this.pick([{ id }, { id, incarnation: this.pick([1, 2, 3, 9]) }]);
        });
        return this.#both((store) => store.heartbeat({ group, beats }, CALL));
      }
      case "desire": {
        const request = { group, epoch, nonce: this.#nonce(), desired: this.pick(TEXTS) };
        return this.#both((store) => store.setDesired(request, CALL));
      }
      case "list": {
        const states = this.pick([undefined, STATES.slice(0, 2), [this.pick(STATES)], []]);
        const after = this.pick([undefined, { id: this.#id(), incarnation: this.pick([0, 1, 2, 99]) }]);
        const request = { group, limit, ...(states && { states }), ...(after && { after }) };
        return this.#both((store) => store.list(request, CALL));
      }
      case "changes":
        return this.#changes(group, limit);
      case "stale":
        return this.#stale(group, limit);
      case "purge":
        return this.#both((store) => store.purge({ group, ageMs: 5_000, limit: 100 }, CALL));
      default: {
        await this.#both((store) => store.getDesired(group, CALL));
        await this.#both((store) => store.listGroups({ limit, after: "others" }, CALL));
        const id = this.#id();
        await this.#both((store) => store.get(group, id, CALL));
        this.#rows = (await this.#both((store) => store.list({ group, limit: 100 }, CALL))) as ResourceRow[];
      }
    }
    return undefined;
  }

  #write(): ResourceWrite {
    const again = this.pick(this.#written);
    if (again !== undefined && this.#random.float() < 0.15) return again;
    const row = this.pick(this.#rows);
    const optional = (name: string) => (this.#random.float() < 0.5 ? { [name]: this.pick(TEXTS) } : {});
    const leases = [{}, { lease: { durationMs: 1_000, token: this.pick(["grant", "keep"] as const) } }];
    const fields = {
      nonce: this.#nonce(),
      state: this.pick(STATES),
      generation: this.pick(NUMBERS),
      attempt: this.pick(NUMBERS),
      ...optional("spec"),
      ...optional("externalId"),
      ...optional("reason"),
      ...this.pick(leases),
      ...this.pick([{}, { fence: this.pick(FENCES) }]),
    };
    const isCreation = row === undefined || this.#random.float() < 0.4;
    const write: ResourceWrite = isCreation
      ? { kind: "create", id: row?.id ?? this.#id(), after: this.pick([0, row?.incarnation ?? 0, 1]), ...fields }
      : {
          kind: "update",
          id: row.id,
          incarnation: row.incarnation,
          expectedVersion: row.version + this.pick([0, 0, 0, 1]),
          ...fields,
          ...this.pick([{}, {}, { ifSilentForMs: this.pick([0, 99, 5_000]) }]),
        };
    this.#written.push(write);
    return write;
  }

  /** Those that the writes stand under, and others, in any order. */
  #fences(writes: readonly ResourceWrite[]): { readonly fences?: readonly Fence[] } {
    const needed = writes.flatMap(({ fence }) => fence ?? []);
    const others = FENCES.filter(() => this.#random.float() < 0.3);
    const names = [
      ...new Set(
        this.pick([
          [...needed, ...others],
          [...others, ...needed],
        ]),
      ),
    ];
    if (names.length === 0) return this.pick([{}, { fences: [] }]);
    // They rise slowly, so that most are of an epoch that was seen, and some are late.
    const epochs = names.map(() => this.pick([0, 1, 1, 1, 1, 2, 2, 3]) + Math.floor(this.#nonces / 100));
    return { fences: names.map((name, index) => ({ name, epoch: epochs[index] as number })) };
  }

  async #changes(group: string, limit: number): Promise<unknown> {
    const odd = this.pick([":1", "x:1", ":0", "", "a:00", "workers"]);
    const [redis, memory] = this.#random.float() < 0.2 ? [odd, odd] : this.pick(this.#cursors);
    const at = (cursor: string | undefined) => ({ group, limit, ...(cursor === undefined ? {} : { cursor }) });
    const [ours, theirs] = [
      await this.#stores[0].changedSince(at(redis), CALL),
      await this.#stores[1].changedSince(at(memory), CALL),
    ];
    expect(ours.cursor === redis).toBe(theirs.cursor === memory);
    this.#cursors.push([ours.cursor, theirs.cursor]);
    return this.#equal({ ...ours, cursor: "" }, { ...theirs, cursor: "" });
  }

  /** Rows that fell silent at one moment may come in any order. */
  async #stale(group: string, limit: number): Promise<unknown> {
    const request = { group, ageMs: this.pick([0, 99, 60_000]), limit };
    const [ours, theirs] = [
      await this.#stores[0].staleBefore(request, CALL),
      await this.#stores[1].staleBefore(request, CALL),
    ];
    const since = ({ rows }: { rows: readonly ResourceRow[] }) => rows.map((row) => silentSince(row as never));
    expect(since(ours)).toEqual(since(theirs));
    const sorted = (rows: readonly ResourceRow[]) => [...rows].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    const all = limit === 100;
    return this.#equal(
      { ...ours, rows: all ? sorted(ours.rows) : [] },
      { ...theirs, rows: all ? sorted(theirs.rows) : [] },
    );
  }

  async #both<T>(ask: (store: ResourceStore) => Promise<T>): Promise<T> {
    return this.#equal(await ask(this.#stores[0]), await ask(this.#stores[1]));
  }

  #equal<T>(ours: T, theirs: T): T {
    expect(this.#numbered(ours, 0)).toEqual(this.#numbered(theirs, 1));
    return ours;
  }

  /** Tokens by the order in which they were seen in their group: stores count in steps of their own, of Redis each group. */
  #numbered(answer: unknown, store: 0 | 1): unknown {
    const tokens = this.#tokens[store];
    return JSON.parse(JSON.stringify(answer ?? null), function (this: { readonly group: string }, name, value) {
      if (name !== "fencingToken" || value === 0) return value;
      const seen = tokens.get(this.group) ?? [];
      tokens.set(this.group, seen);
      if (!seen.includes(value)) {
        for (const earlier of seen) expect(value).toBeGreaterThan(earlier);
        seen.push(value);
      }
      return seen.indexOf(value) + 1;
    });
  }

  #id(): string {
    return this.pick(["web-1", "web-10", "web-2", "Web", "\u{1f980}", "\uffee"]);
  }

  #nonce(): string {
    this.#nonces += 1;
    return `nonce ${this.#nonces}`;
  }
}

/** Each index has the rows that belong in it, at their places, and no others. */
async function expectWholeIndexes(client: RedisClientType, keys: readonly string[]): Promise<void> {
  const [, rows, specs, order, changes, silent, ended] = keys as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const packed = Object.entries(await client.hGetAll(rows)).sort(([a], [b]) => (a < b ? -1 : 1));
  const words = packed.map(([member, row]) => [member, ...String(row).split("\n", 1).join().split(" ")] as const);
  const expected = (keyOf: (of: readonly string[]) => string | undefined) =>
    Object.fromEntries(words.flatMap((of) => (keyOf(of) === undefined ? [] : [[of[0], Number(keyOf(of))]])));
  const actual = async (key: string) =>
    Object.fromEntries((await client.zRangeWithScores(key, 0, -1)).map(({ value, score }) => [value, score]));
  const given = (...places: readonly (string | undefined)[]) => places.find((word) => word !== "-");
  expect(words.length).toBeGreaterThan(0);
  expect(await actual(order)).toEqual(expected(() => "0"));
  expect(await actual(changes)).toEqual(expected((of) => of[13]));
  expect(await actual(silent)).toEqual(
    expected((of) => (of[2] === "PROVISIONED" ? given(of[10], of[9], of[7]) : undefined)),
  );
  expect(await actual(ended)).toEqual(expected((of) => (of[2] === "TERMINATED" ? of[8] : undefined)));
  const withSpec = words.filter((of) => of[16] !== "-").map(([member]) => member);
  expect((await client.hKeys(specs)).sort()).toEqual(withSpec.sort());
}

function nameOf({ id, incarnation }: ResourceRow): string {
  return `${id}/${incarnation}`;
}

/** The time that stands still on the server. */
async function timeOf(store: LedgerStore): Promise<number> {
  const fields = { nonce: "probe", state: "PENDING", generation: 1, attempt: 1 } as const;
  const writes = [{ kind: "create", id: "probe", after: 0, ...fields }] as const;
  const answer = await store.resources.apply({ group: "a probe", epoch: 0, writes }, CALL);
  return (answer.status === "decided" && answer.results[0]?.row?.readAt) || Number.NaN;
}
