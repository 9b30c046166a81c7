import type { Clock } from "../../src/clock.ts";
import { makeNonce, systemRandom } from "../../src/random.ts";
import { changesCursor } from "../../src/resource-changes.ts";
import { assertFences } from "../../src/resource-writes.ts";
import type {
  ApplyResult,
  Fence,
  HeartbeatResult,
  ResourceRow,
  ResourceStore,
  SetDesiredResult,
  WriteResult,
} from "../../src/store.ts";
import type { ScriptCall } from "./redis-connection.ts";
import { assertNames } from "./redis-names.ts";
import { APPLY } from "./redis-resources-apply.ts";
import { fencesKey, groupKeys, groupNamesKey, rowMember } from "./redis-resources-keys.ts";
import { STEP_ROWS } from "./redis-resources-lua.ts";
import { groupNames } from "./redis-resources-names.ts";
import { CHANGED_SINCE, GET, GET_DESIRED, GROUP_NAMES, LIST, STALE_BEFORE } from "./redis-resources-reads.ts";
import {
  fenceArguments,
  optionalText,
  type Reply,
  rowFrom,
  rowsFrom,
  writesArguments,
} from "./redis-resources-rows.ts";
import { type ScriptRunner, stepsOf } from "./redis-resources-steps.ts";
import { HEARTBEAT, PURGE, SET_DESIRED } from "./redis-resources-writes.ts";
import { text, whole } from "./redis-rows.ts";
import { storedText } from "./stored-texts.ts";

export interface RedisResourcesOptions {
  readonly connection: ScriptRunner;
  readonly clock: Clock;
  /** Of all keys of the ledger. */
  readonly prefix: string;
}

/**
 * The resources of a Redis ledger: each operation is a script that says what `resource-writes.ts` and its neighbours say, arm by arm.
 *
 * A script keeps everybody else waiting, so none that answers a question looks at more than a thousand rows. What asks for
 * more is answered in several steps: `list` row by row in its order, `changedSince` as of the first step, `staleBefore` with
 * nothing passed over.
 */
export function redisResources({ connection, clock, prefix }: RedisResourcesOptions): ResourceStore {
  const names = groupNames(prefix);
  const steps = (call: { readonly timeoutMs: number }) => stepsOf(connection, clock, call);
  const keysOf = (group: string, ...ids: readonly string[]) => {
    assertNames("redisStore.resources", "groups, ids and fences", group, ...ids);
    return groupKeys(prefix, group);
  };
  /** Of all marks of a group that ever were, none is equal: a ledger that was lost can't have had it. */
  const newMark = (): string => makeNonce(systemRandom);

  return {
    async getDesired(group, call) {
      const reply = await steps(call).run(GET_DESIRED, keysOf(group), [group]);
      const desired = optionalText(reply[3]);
      const status = optionalText(reply[4]);
      return {
        generation: whole(reply[1]),
        ...(desired === undefined ? {} : { desired }),
        ...(status === undefined ? {} : { status }),
        epoch: whole(reply[2]),
      };
    },

    async setDesired({ group, epoch, nonce, desired, ifGeneration }, call): Promise<SetDesiredResult> {
      const keys = keysOf(group);
      const own = steps(call);
      await names.register(group, own);
      const wish = [storedText(desired), nonce, ifGeneration === undefined ? "" : String(ifGeneration)];
      const reply = await own.run(SET_DESIRED, keys, [group, String(epoch), newMark(), ...wish]);
      if (isFenced(reply)) return { status: "fenced", epoch: whole(reply[1]) };
      if (text(reply[1]) === "new") await names.made(group, own);
      return { status: text(reply[0]) === "conflict" ? "conflict" : "set", generation: whole(reply[2]) };
    },

    async apply({ group, epoch, writes, fences = [], status }, call): Promise<ApplyResult> {
      assertFences(writes, fences);
      // Taken before anything is waited for: the caller may do with its objects what it likes.
      const specs = writes.map(({ spec }) => spec);
      const statusArguments = status === undefined ? ["0", ""] : ["1", storedText(status)];
      const fenceNames = fences.map(({ name }) => name);
      const ownArguments = [group, String(epoch), newMark(), ...statusArguments];
      const args = [...ownArguments, ...fenceArguments(fences), ...writesArguments(writes, fences)];
      const groupsKeys = keysOf(group, ...writes.map(({ id }) => id), ...fenceNames);
      const keys: ScriptCall["keys"] = fences.length === 0 ? groupsKeys : [...groupsKeys, fencesKey(prefix, group)];
      const own = steps(call);
      await names.register(group, own);
      const reply = await own.run(APPLY, keys, args);
      if (isFenced(reply)) return { status: "fenced", epoch: whole(reply[1]) };
      if (text(reply[1]) === "new") await names.made(group, own);
      const nowMs = whole(reply[2]);
      const results = specs.map((spec, index): WriteResult => {
        const [came, packed, stored] = reply.slice(3 + 3 * index) as [unknown, unknown, unknown];
        const outcome = text(came);
        if (outcome === "fenced") return { status: "fenced", epoch: whole(packed) };
        if (packed === null) return { status: "conflict" };
        const row = rowFrom(group, packed, outcome === "made" ? spec : optionalText(stored), nowMs);
        return { status: outcome === "conflict" ? "conflict" : "applied", row };
      });
      const higher: Fence[] = [];
      for (let at = 3 + 3 * specs.length; at < reply.length; at += 2) {
        higher.push({ name: fenceNames[whole(reply[at]) - 1] as string, epoch: whole(reply[at + 1]) });
      }
      return { status: "decided", results, ...(higher.length === 0 ? {} : { fences: higher }) };
    },

    async heartbeat({ group, beats }, call) {
      const args = beats.flatMap(({ id, incarnation }) => [id, incarnation === undefined ? "" : String(incarnation)]);
      const keys = keysOf(group, ...beats.map(({ id }) => id));
      const [, ...answers] = await steps(call).run(HEARTBEAT, keys, [group, ...args]);
      return answers.map((answer): HeartbeatResult => ({ status: text(answer) as HeartbeatResult["status"] }));
    },

    async get(group, id, call) {
      const reply = await steps(call).run(GET, keysOf(group, id), [id]);
      return text(reply[0]) === "missing" ? undefined : rowsFrom(group, reply, 2, whole(reply[1]))[0];
    },

    async list({ group, states, limit, after }, call) {
      const keys = keysOf(group, after?.id ?? "");
      const rows: ResourceRow[] = [];
      const wanted = states === undefined ? ["all"] : ["only", ...states];
      const own = steps(call);
      let from: string | Buffer | undefined = after === undefined ? "-" : `(${rowMember(after)}`;
      while (from !== undefined) {
        const args: (string | Buffer)[] = [from, String(limit - rows.length), ...wanted];
        const reply = await own.run(LIST, keys, args);
        rows.push(...rowsFrom(group, reply, 3, whole(reply[1])));
        from = (reply[2] ?? undefined) as Buffer | undefined;
      }
      return rows;
    },

    async changedSince({ group, cursor, limit }, call) {
      const own = steps(call);
      const rows: ResourceRow[] = [];
      const start = cursor ?? changesCursor(undefined, 0);
      let at = start;
      let until = "";
      let reset = false;
      for (;;) {
        const reply = await own.run(CHANGED_SINCE, keysOf(group), [group, at, String(limit - rows.length), until]);
        const isReset = text(reply[2]) === "reset";
        if (isReset && until !== "") {
          // The ledger was lost between two steps, and what was read with it.
          rows.length = 0;
          at = start;
          until = "";
          continue;
        }
        reset ||= isReset;
        rows.push(...rowsFrom(group, reply, 6, whole(reply[1])));
        at = text(reply[3]);
        until = text(reply[4]);
        if (text(reply[5]) === "done") return { rows, cursor: at, reset };
      }
    },

    async staleBefore({ group, ageMs, limit }, call) {
      const own = steps(call);
      const rows = new Map<string, ResourceRow>();
      let goOn: (string | Buffer)[] = [];
      for (;;) {
        const args = [String(ageMs), String(limit - rows.size), ...goOn];
        const reply = await own.run(STALE_BEFORE, keysOf(group), args);
        for (const row of rowsFrom(group, reply, 5, whole(reply[1]))) rows.set(rowMember(row), row);
        if (reply[3] !== null) goOn = [reply[3] as Buffer, reply[4] as Buffer];
        else {
          const nextInMs = reply[2] === null ? {} : { nextInMs: whole(reply[2]) };
          return { rows: [...rows.values()], ...nextInMs };
        }
      }
    },

    async purge({ group, ageMs, limit }, call) {
      const own = steps(call);
      let purged = 0;
      let passed = 0;
      for (;;) {
        const args = [group, String(ageMs), String(limit - purged), String(passed)];
        const reply = await own.run(PURGE, keysOf(group), args);
        purged += whole(reply[1]);
        passed = whole(reply[2]);
        if (purged >= limit || text(reply[3]) === "done") return { purged };
      }
    },

    async listGroups({ limit, after }, call) {
      const own = steps(call);
      const groups: string[] = [];
      for (;;) {
        const last = groups.at(-1) ?? after;
        const count = Math.min(limit - groups.length, STEP_ROWS);
        const args = [last === undefined ? "-" : `(${last}`, String(count)];
        const [, ...page] = await own.run(GROUP_NAMES, [groupNamesKey(prefix)], args);
        groups.push(...page.map((name) => text(name)));
        if (page.length < count || groups.length >= limit) return groups;
      }
    },
  };
}

function isFenced(reply: Reply): boolean {
  return text(reply[0]) === "fenced";
}
