import { recordCorrupt } from "../../src/execution-record.ts";
import { assertFences } from "../../src/resource-writes.ts";
import type {
  ChangedSinceRequest,
  Fence,
  HeartbeatResult,
  ResourceStore,
  ResourceWrite,
  StoreCall,
  WriteResult,
} from "../../src/store.ts";
import type { PostgresConnection } from "./postgres-connection.ts";
import { rowOf, type StoredRow, textOf } from "./postgres-resources-rows.ts";
import { storedText } from "./postgres-resources-texts.ts";
import { assertStorable } from "./postgres-texts.ts";

/** What a function answers at last; each status has its own part of it. */
interface Verdict {
  readonly status: string;
  readonly now: number;
  readonly epoch: number;
  readonly generation: number;
  readonly desired: string | null;
  readonly said: string | null;
  readonly mark: string | null;
  readonly after: number;
  readonly reset: boolean;
  readonly nextInMs: number | null;
  readonly fences: readonly Fence[] | null;
  readonly count: number;
  readonly answers: readonly HeartbeatResult["status"][];
}

type DecidedWrite =
  | { readonly fenced: number }
  | { readonly fenced?: never; readonly applied: boolean; readonly row: StoredRow | null };

type Argument = string | number | null;

/** The functions of resources, with the types of their parameters. */
const FUNCTIONS = {
  get_desired: ["text"],
  set_desired: ["text", "bigint", "text", "text", "bigint", "bigint"],
  apply_resources: ["text", "bigint", "text", "json", "json", "bigint"],
  heartbeat: ["text", "json", "bigint"],
  get_resource: ["text", "text"],
  list_resources: ["text", "text[]", "text", "bigint", "bigint"],
  changed_since: ["text", "text", "bigint", "bigint"],
  stale_before: ["text", "bigint", "bigint"],
  list_groups: ["text", "bigint"],
  purge_resources: ["text", "bigint", "bigint", "bigint"],
} as const;

/** The resources of a PostgreSQL ledger: the decisions are the database's, see `postgres-resources-schema.ts`. */
export function postgresResources(connection: PostgresConnection): ResourceStore {
  /** Calls a function; its last answer is the verdict, and those before it belong to it. */
  async function ask<Item>(
    name: keyof typeof FUNCTIONS,
    values: readonly Argument[],
    call: StoreCall,
  ): Promise<{ readonly verdict: Verdict; readonly items: readonly Item[] }> {
    assertStorable(...values);
    const parameters = FUNCTIONS[name].map((type, index) => `$${index + 1}::text::${type}`).join(", ");
    const rows = await connection.query(call, ({ names }) => ({
      text: `SELECT a.answer::text AS answer FROM ${names.of(name)}(${parameters}) AS a(answer)`,
      values: values.map((value) => (value === null ? null : String(value))),
    }));
    const answers = rows.map(({ answer }) => JSON.parse(String(answer)) as unknown);
    const verdict = answers.pop() as Verdict;
    if (verdict.status === "corrupt") throw recordCorrupt("one of its columns holds what this version never writes");
    return { verdict, items: answers as Item[] };
  }

  return {
    async getDesired(group, call) {
      const { verdict } = await ask("get_desired", [group], call);
      if (verdict.status === "missing") return { generation: 0, epoch: 0 };
      const { generation, desired, said, epoch } = verdict;
      return { generation, ...textOf("desired", desired), ...textOf("status", said), epoch };
    },

    async setDesired({ group, epoch, nonce, desired, ifGeneration = null }, call) {
      const values = [group, epoch, nonce, storedText(desired), ifGeneration, patience(call)];
      const { verdict } = await ask("set_desired", values, call);
      if (verdict.status === "fenced") return { status: "fenced", epoch: verdict.epoch };
      return { status: verdict.status === "conflict" ? "conflict" : "set", generation: verdict.generation };
    },

    async apply({ group, epoch, writes, fences = [], status }, call) {
      assertFences(writes, fences);
      // Of what the caller has now: it may have changed when a connection is there.
      const specs = writes.map(({ spec }) => spec);
      for (const { id, nonce } of writes) assertStorable(id, nonce);
      for (const { name } of fences) assertStorable(name);
      const batch = JSON.stringify(writes.map(storedWrite));
      const parts = fences.length === 0 ? null : JSON.stringify(fences.map(storedFence));
      const said = status === undefined ? null : storedText(status);
      const values = [group, epoch, said, parts, batch, patience(call)];
      const { verdict, items } = await ask<DecidedWrite>("apply_resources", values, call);
      if (verdict.status === "fenced") return { status: "fenced", epoch: verdict.epoch };
      const results = items.map((item, index) => writeResultOf(item, specs[index], verdict.now));
      return { status: "decided", results, ...(verdict.fences === null ? {} : { fences: verdict.fences }) };
    },

    async heartbeat({ group, beats }, call) {
      for (const { id } of beats) assertStorable(id);
      const batch = JSON.stringify(beats.map(({ id, incarnation }) => ({ id, incarnation })));
      const { verdict } = await ask("heartbeat", [group, batch, patience(call)], call);
      return verdict.answers.map((status) => ({ status }));
    },

    async get(group, id, call) {
      const { verdict, items } = await ask<StoredRow>("get_resource", [group, id], call);
      const [row] = items;
      return row === undefined ? undefined : rowOf(row, verdict.now);
    },

    async list({ group, states, limit, after }, call) {
      const wanted = states === undefined ? null : `{${states.join(",")}}`;
      // No row is before this one.
      const { id, incarnation } = after ?? { id: "", incarnation: 0 };
      const { verdict, items } = await ask<StoredRow>("list_resources", [group, wanted, id, incarnation, limit], call);
      return items.map((row) => rowOf(row, verdict.now));
    },

    async changedSince({ group, cursor, limit }, call) {
      const { mark, after } = startOf(cursor);
      const { verdict, items } = await ask<StoredRow>("changed_since", [group, mark, after, limit], call);
      return {
        rows: items.map((row) => rowOf(row, verdict.now)),
        cursor: `${verdict.mark ?? ""}:${items.at(-1)?.sequence ?? verdict.after}`,
        reset: verdict.reset,
      };
    },

    async staleBefore({ group, ageMs, limit }, call) {
      const { verdict, items } = await ask<StoredRow>("stale_before", [group, ageMs, limit], call);
      const { now, nextInMs } = verdict;
      return { rows: items.map((row) => rowOf(row, now)), ...(nextInMs === null ? {} : { nextInMs }) };
    },

    async purge({ group, ageMs, limit }, call) {
      const { verdict } = await ask("purge_resources", [group, ageMs, limit, patience(call)], call);
      return { purged: verdict.count };
    },

    async listGroups({ limit, after }, call) {
      // No name is empty.
      return (await ask<string>("list_groups", [after ?? "", limit], call)).items.slice();
    },
  };
}

/** How long a statement may wait for a lock: as long as its caller waits for it. At least a millisecond, since 0 is for ever. */
function patience({ timeoutMs }: StoreCall): number {
  return Math.min(Math.max(1, Math.ceil(timeoutMs)), 2_147_483_647);
}

/** A write with the names of `apply_resources`. */
function storedWrite(write: ResourceWrite): object {
  const { kind, id, nonce, state, generation, attempt, lease, fence } = write;
  return {
    kind,
    id,
    nonce,
    state,
    spec: stored(write.spec),
    external_id: stored(write.externalId),
    generation,
    reason: stored(write.reason),
    attempt,
    lease_ms: lease?.durationMs,
    grants: lease?.token === "grant",
    fence,
    ...(write.kind === "create"
      ? { after: write.after }
      : {
          incarnation: write.incarnation,
          expected_version: write.expectedVersion,
          if_silent_for_ms: write.ifSilentForMs,
        }),
  };
}

function storedFence({ name, epoch }: Fence): Fence {
  return { name, epoch };
}

function stored(text: string | undefined): string | undefined {
  return text === undefined ? undefined : storedText(text);
}

/** @param spec - of the write, which is the row's where it was applied. */
function writeResultOf(item: DecidedWrite, spec: string | undefined, now: number): WriteResult {
  if (item.fenced !== undefined) return { status: "fenced", epoch: item.fenced };
  const { applied, row } = item;
  if (row === null) return { status: "conflict" };
  if (!applied) return { status: "conflict", row: rowOf(row, now) };
  return { status: "applied", row: { ...rowOf(row, now), ...(spec === undefined ? {} : { spec }) } };
}

/** What a cursor says, see `changesStart`. No group has the mark `:`, which stands for a cursor that nobody gave out. */
function startOf(cursor: ChangedSinceRequest["cursor"]): { readonly mark: string | null; readonly after: number } {
  if (cursor === undefined || cursor === ":0") return { mark: null, after: 0 };
  const [, mark, digits] = /^([\w.]+):(0|[1-9][0-9]{0,15})$/.exec(cursor) ?? [];
  return mark === undefined ? { mark: ":", after: 0 } : { mark, after: Number(digits) };
}
