import { memoryStore } from "evenkeel/memory";
import type { ManualClock } from "evenkeel/testing";
import type {
  ApplyRequest,
  ApplyResult,
  HeartbeatResult,
  LedgerStore,
  ResourceRow,
  ResourceStore,
  ResourceWrite,
  UpdateResource,
} from "../../src/store.ts";

const CALL = { timeoutMs: 1_000 };

interface Parts {
  readonly inner: ResourceStore;
  readonly clock: ManualClock;
}

function breaking(breakage: (parts: Parts) => Partial<ResourceStore>): (clock: ManualClock) => LedgerStore {
  return (clock) => {
    const store = memoryStore({ clock });
    return { ...store, resources: { ...store.resources, ...breakage({ inner: store.resources, clock }) } };
  };
}

/** What a store does wrong with each write of a batch, before or after the real one. */
function writing(change: (write: ResourceWrite) => ResourceWrite): (clock: ManualClock) => LedgerStore {
  return breaking(({ inner }) => ({
    apply: (request, call) => inner.apply({ ...request, writes: request.writes.map(change) }, call),
  }));
}

/** What a store does wrong with the rows of each answer. */
function answering(change: (row: ResourceRow) => ResourceRow): (clock: ManualClock) => LedgerStore {
  const all = (rows: readonly ResourceRow[]): ResourceRow[] => rows.map(change);
  return breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await inner.apply(request, call);
      if (answer.status === "fenced") return answer;
      const results = answer.results.map((result) =>
        result.row === undefined ? result : { ...result, row: change(result.row) },
      );
      return { ...answer, results } as ApplyResult;
    },
    async get(group, id, call) {
      const row = await inner.get(group, id, call);
      return row === undefined ? undefined : change(row);
    },
    list: async (request, call) => all(await inner.list(request, call)),
    async changedSince(request, call) {
      const answer = await inner.changedSince(request, call);
      return { ...answer, rows: all(answer.rows) };
    },
    async staleBefore(request, call) {
      const answer = await inner.staleBefore(request, call);
      return { ...answer, rows: all(answer.rows) };
    },
  }));
}

/** What a store answers each beat wrongly. */
function beating(
  change: (status: HeartbeatResult["status"], row: ResourceRow | undefined) => HeartbeatResult["status"],
): (clock: ManualClock) => LedgerStore {
  return breaking(({ inner }) => ({
    async heartbeat(request, call) {
      const rows = await inner.list({ group: request.group, limit: 10_000 }, call);
      const answers = await inner.heartbeat(request, call);
      return answers.map(({ status }, index) => {
        const beat = request.beats[index];
        const named = rows.find(({ id, incarnation }) => id === beat?.id && incarnation === beat.incarnation);
        return { status: change(status, named) };
      });
    },
  }));
}

function without<Name extends keyof ResourceRow>(name: Name): (row: ResourceRow) => ResourceRow {
  return ({ [name]: _gone, ...row }) => row as unknown as ResourceRow;
}

async function current(inner: ResourceStore, group: string, write: UpdateResource): Promise<ResourceRow | undefined> {
  const rows = await inner.list({ group, limit: 10_000 }, CALL);
  return rows.find(({ id, incarnation }) => id === write.id && incarnation === write.incarnation);
}

/** Applies each write as a batch of its own. */
async function oneByOne(inner: ResourceStore, request: ApplyRequest): Promise<ApplyResult> {
  const results = [];
  for (const write of request.writes) {
    const answer = await inner.apply({ ...request, writes: [write] }, CALL);
    if (answer.status === "fenced") return answer;
    results.push(...answer.results);
  }
  return { status: "decided", results };
}

/** The reference store's resources, broken in one way each. */
export const brokenResources: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  // --------------------------------------------------------------------------------------------------- writes
  "updates a row whatever its version": breaking(({ inner }) => ({
    async apply(request, call) {
      const writes: ResourceWrite[] = [];
      for (const write of request.writes) {
        const row = write.kind === "update" ? await current(inner, request.group, write) : undefined;
        const expectedVersion = row?.version ?? 0;
        writes.push(write.kind === "update" && row !== undefined ? { ...write, expectedVersion } : write);
      }
      return inner.apply({ ...request, writes }, call);
    },
  })),
  "creates over what is there": breaking(({ inner }) => ({
    async apply(request, call) {
      const writes: ResourceWrite[] = [];
      for (const write of request.writes) {
        const newest = await inner.get(request.group, write.id, call);
        writes.push(write.kind === "create" ? { ...write, after: newest?.incarnation ?? 0 } : write);
      }
      return inner.apply({ ...request, writes }, call);
    },
  })),
  "does not know a write again": breaking(({ inner }) => {
    const seen = new Set<string>();
    return {
      apply(request, call) {
        const writes = request.writes.map((write) => {
          const isKnown = seen.has(write.nonce);
          seen.add(write.nonce);
          return isKnown ? { ...write, nonce: `${write.nonce} again` } : write;
        });
        return inner.apply({ ...request, writes }, call);
      },
    };
  }),
  "takes every write for one that it knows": writing((write) => ({ ...write, nonce: "one for all" })),
  "does not tell what stands in the way": breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await inner.apply(request, call);
      if (answer.status === "fenced") return answer;
      return {
        ...answer,
        results: answer.results.map((result) => (result.status === "conflict" ? { status: "conflict" } : result)),
      };
    },
  })),
  "answers a batch in another order": breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await inner.apply(request, call);
      return answer.status === "fenced" ? answer : { ...answer, results: [...answer.results].reverse() };
    },
  })),
  "decides a batch from its end": breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await inner.apply({ ...request, writes: [...request.writes].reverse() }, call);
      return answer.status === "fenced" ? answer : { ...answer, results: [...answer.results].reverse() };
    },
  })),
  "gives up a batch at its first conflict": breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await oneByOne(inner, request);
      if (answer.status === "fenced" || request.writes.length < 2) return inner.apply(request, call);
      const at = answer.results.findIndex(({ status }) => status === "conflict");
      return at < 0
        ? answer
        : { ...answer, results: answer.results.map((result, index) => (index > at ? { status: "conflict" } : result)) };
    },
  })),
  "keeps what a write left out": writing((write) => ({ spec: "from before", ...write })),
  "trims texts": writing((write) => (write.reason === undefined ? write : { ...write, reason: write.reason.trim() })),
  "takes empty texts for none": writing(({ spec, ...write }) => (spec ? { ...write, spec } : write)),
  "cuts long texts": writing((write) =>
    write.spec === undefined ? write : { ...write, spec: write.spec.slice(0, 65_535) },
  ),
  "folds the case of ids": writing((write) => ({ ...write, id: write.id.toLowerCase() })),
  "looks at its batch only later": breaking(({ inner }) => ({
    async apply(request, call) {
      await Promise.resolve();
      return inner.apply(request, call);
    },
  })),

  // --------------------------------------------------------------------------------------------------- epochs
  "fences nobody": breaking(({ inner }) => ({
    apply: (request, call) => inner.apply({ ...request, epoch: 0 }, call),
    setDesired: (request, call) => inner.setDesired({ ...request, epoch: 0 }, call),
  })),
  "ignores the generation that a wish is meant for": breaking(({ inner }) => ({
    setDesired: ({ ifGeneration: _ifGeneration, ...request }, call) => inner.setDesired(request, call),
  })),
  "takes a wish for a generation for one that comes too late": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const { generation } = await inner.getDesired(request.group, call);
      const isMeant = request.ifGeneration !== undefined && request.ifGeneration === generation;
      return isMeant ? { status: "conflict", generation } : inner.setDesired(request, call);
    },
  })),
  "sets what it says that it did not": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const answer = await inner.setDesired(request, call);
      const { ifGeneration: _ifGeneration, ...anyhow } = request;
      if (answer.status === "conflict") await inner.setDesired(anyhow, call);
      return answer;
    },
  })),
  "takes the same text for the same wish": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const answer = await inner.setDesired(request, call);
      const { desired } = await inner.getDesired(request.group, call);
      const isThere = answer.status === "conflict" && desired === request.desired;
      return isThere ? { status: "set", generation: answer.generation } : answer;
    },
  })),
  "reads the generation first and sets second": breaking(({ inner }) => ({
    async setDesired({ ifGeneration, ...request }, call) {
      const { generation } = await inner.getDesired(request.group, call);
      await Promise.resolve();
      const isMeant = ifGeneration === undefined || ifGeneration === generation;
      return isMeant ? inner.setDesired(request, call) : { status: "conflict", generation };
    },
  })),
  "does not know the nonce of a wish again": breaking(({ inner }) => {
    const seen = new Set<string>();
    return {
      async setDesired(request, call) {
        const answer = await inner.setDesired(request, call);
        const isAgain = seen.has(request.nonce) && request.ifGeneration !== undefined && answer.status === "set";
        seen.add(request.nonce);
        return isAgain ? { status: "conflict", generation: answer.generation } : answer;
      },
    };
  }),
  "knows the nonce of a wish for ever": breaking(({ inner }) => {
    const seen = new Map<string, number>();
    return {
      async setDesired(request, call) {
        const answer = await inner.setDesired(request, call);
        if (answer.status === "set") seen.set(request.nonce, answer.generation);
        const generation = seen.get(request.nonce);
        return answer.status === "conflict" && generation !== undefined ? { status: "set", generation } : answer;
      },
    };
  }),
  "forgets the epoch of a wish that comes too late": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const { generation, epoch } = await inner.getDesired(request.group, call);
      const isLate = request.ifGeneration !== undefined && request.ifGeneration !== generation;
      return isLate && request.epoch >= epoch ? { status: "conflict", generation } : inner.setDesired(request, call);
    },
  })),
  "tells a wish that comes too late nothing of the generation": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const answer = await inner.setDesired(request, call);
      return answer.status === "conflict" ? { ...answer, generation: request.ifGeneration ?? 0 } : answer;
    },
  })),
  "fences writes but not what is desired": breaking(({ inner }) => ({
    async setDesired(request, call) {
      const { epoch } = await inner.getDesired(request.group, call);
      return inner.setDesired({ ...request, epoch: Math.max(epoch, request.epoch) }, call);
    },
  })),
  "forgets an epoch whose batch changed nothing": breaking(({ inner }) => ({
    apply(request, call) {
      return inner.apply(request.writes.length === 0 ? { ...request, epoch: 0 } : request, call);
    },
  })),
  "has one epoch for all groups": breaking(({ inner }) => {
    let highest = 0;
    return {
      async apply(request, call) {
        highest = Math.max(highest, request.epoch);
        return request.epoch < highest ? { status: "fenced", epoch: highest } : inner.apply(request, call);
      },
    };
  }),
  "writes the status of whom it fences": breaking(({ inner }) => ({
    async apply(request, call) {
      const answer = await inner.apply(request, call);
      if (answer.status !== "fenced" || request.status === undefined) return answer;
      await inner.apply({ ...request, epoch: answer.epoch, writes: [] }, call);
      return answer;
    },
  })),
  "forgets the status": breaking(({ inner }) => ({
    apply: ({ status: _status, ...request }, call) => inner.apply(request, call),
  })),
  "raises the generation with every setDesired": breaking(({ inner }) => ({
    async setDesired(request, call) {
      await inner.setDesired({ ...request, desired: `${request.desired} or so` }, call);
      return inner.setDesired(request, call);
    },
  })),
  "tells groups that were only read": breaking(({ inner }) => ({
    async getDesired(group, call) {
      await inner.apply({ group, epoch: 0, writes: [] }, call);
      return inner.getDesired(group, call);
    },
  })),
  "tells groups in no order": breaking(({ inner }) => ({
    listGroups: async (request, call) => (await inner.listGroups(request, call)).sort(),
  })),

  // ------------------------------------------------------------------------------------------- times and leases
  "does not tell when a row was provisioned": answering(without("provisionedAt")),
  "does not tell when a row was terminated": answering(without("terminatedAt")),
  "does not tell when it read": answering((row) => ({ ...row, readAt: row.createdAt })),
  "hides a lease that has lapsed": answering((row) =>
    (row.leaseExpiresAt ?? Number.POSITIVE_INFINITY) <= row.readAt ? without("leaseExpiresAt")(row) : row,
  ),
  "takes a change of anything for one of the state": answering((row) => ({
    ...row,
    stateChangedAt: row.version > 1 ? row.readAt : row.stateChangedAt,
  })),
  "grants a token with every lease": writing((write) =>
    write.lease === undefined ? write : { ...write, lease: { ...write.lease, token: "grant" } },
  ),
  "keeps the token at every grant": writing((write) =>
    write.lease === undefined ? write : { ...write, lease: { ...write.lease, token: "keep" } },
  ),
  "forgets the token when the lease ends": answering((row) =>
    row.leaseExpiresAt === undefined ? { ...row, fencingToken: 0 } : row,
  ),

  // ------------------------------------------------------------------------------------------------ heartbeats
  "revives whoever beats": beating((status) => (status === "superseded" ? "accepted" : status)),
  "misses rows that it supersedes": beating((status, row) =>
    row === undefined && status === "superseded" ? "missing" : status,
  ),
  "supersedes rows that it misses": beating((status) => (status === "missing" ? "superseded" : status)),
  "supersedes what is terminating": beating((status, row) => (row?.state === "TERMINATING" ? "superseded" : status)),
  "stamps the newest whoever beats": breaking(({ inner }) => ({
    heartbeat: ({ group, beats }, call) => inner.heartbeat({ group, beats: beats.map(({ id }) => ({ id })) }, call),
  })),
  "stamps nobody": breaking(({ inner }) => ({
    heartbeat: (request, call) => inner.heartbeat({ ...request, group: `${request.group}'s shadow` }, call),
  })),
  "counts a beat as a write": breaking(({ inner }) => ({
    async heartbeat(request, call) {
      const answers = await inner.heartbeat(request, call);
      const row = await inner.get(request.group, request.beats[0]?.id ?? "", call);
      if (row === undefined || answers[0]?.status !== "accepted") return answers;
      const { id, incarnation, version: expectedVersion, state, generation, attempt } = row;
      const { epoch } = await inner.getDesired(request.group, call);
      const write = { kind: "update", id, incarnation, expectedVersion, state, generation, attempt } as const;
      await inner.apply(
        { group: request.group, epoch, writes: [{ ...write, nonce: `beat ${expectedVersion}` }] },
        call,
      );
      return answers;
    },
  })),
  "ignores a beat in between": writing((write) => {
    if (write.kind !== "update") return write;
    const { ifSilentForMs: _ifSilentForMs, ...rest } = write;
    return rest;
  }),
  "holds for silent a millisecond too early": writing((write) =>
    write.kind === "update" && write.ifSilentForMs !== undefined
      ? { ...write, ifSilentForMs: write.ifSilentForMs - 1 }
      : write,
  ),
  "tells silent rows a millisecond too early": breaking(({ inner }) => ({
    staleBefore: (request, call) => inner.staleBefore({ ...request, ageMs: request.ageMs - 1 }, call),
  })),
  "tells silent rows a millisecond too late": breaking(({ inner }) => ({
    staleBefore: (request, call) => inner.staleBefore({ ...request, ageMs: request.ageMs + 1 }, call),
  })),
  "tells silent rows in no order": breaking(({ inner }) => ({
    async staleBefore(request, call) {
      const answer = await inner.staleBefore(request, call);
      return { ...answer, rows: [...answer.rows].sort((a, b) => (a.id < b.id ? -1 : 1)) };
    },
  })),
  "does not tell when the next one will be silent": breaking(({ inner }) => ({
    staleBefore: async (request, call) => ({ rows: (await inner.staleBefore(request, call)).rows }),
  })),
  "looks for silent rows among the newest only": breaking(({ inner }) => ({
    async staleBefore(request, call) {
      const { rows, ...answer } = await inner.staleBefore(request, call);
      const newest = await Promise.all(rows.map(({ group, id }) => inner.get(group, id, call)));
      return { ...answer, rows: rows.filter((row, index) => newest[index]?.incarnation === row.incarnation) };
    },
  })),

  // --------------------------------------------------------------------------------------------- lists and purge
  "lists resources in UTF-16 order": breaking(({ inner }) => ({
    async list(request, call) {
      const rows = await inner.list(request, call);
      return rows.sort((a, b) => (a.id === b.id ? a.incarnation - b.incarnation : a.id < b.id ? -1 : 1));
    },
  })),
  "lists incarnations newest first": breaking(({ inner }) => ({
    async list(request, call) {
      const rows = await inner.list(request, call);
      return rows.sort((a, b) => (a.id === b.id ? b.incarnation - a.incarnation : 0));
    },
  })),
  "filters a page of resources after it was cut": breaking(({ inner }) => ({
    async list({ states, ...request }, call) {
      const rows = await inner.list(request, call);
      return states === undefined ? rows : rows.filter(({ state }) => states.includes(state));
    },
  })),
  "begins a page of resources with the id before it": breaking(({ inner }) => ({
    list: ({ after, ...request }, call) =>
      inner.list({ ...request, ...(after === undefined ? {} : { after: { ...after, incarnation: 0 } }) }, call),
  })),
  "reads the oldest incarnation": breaking(({ inner }) => ({
    get: async (group, id, call) => (await inner.list({ group, limit: 10_000 }, call)).find((row) => row.id === id),
  })),
  "purges whatever is terminated": breaking(({ inner }) => ({
    purge: (request, call) => inner.purge({ ...request, ageMs: 0 }, call),
  })),
  "purges more resources than it is told": breaking(({ inner }) => ({
    purge: (request, call) => inner.purge({ ...request, limit: 1_000 }, call),
  })),
  "begins its incarnations anew after a purge": breaking(({ inner }) => {
    const renumbered = (row: ResourceRow): ResourceRow => ({
      ...row,
      incarnation: row.version === 1 ? 1 : row.incarnation,
    });
    return {
      async apply(request, call) {
        const answer = await inner.apply(request, call);
        if (answer.status === "fenced") return answer;
        const results = answer.results.map((result) =>
          result.status === "applied" ? { ...result, row: renumbered(result.row) } : result,
        );
        return { ...answer, results };
      },
    };
  }),

  // --------------------------------------------------------------------------------------------------- changes
  "misses a change now and then": breaking(({ inner }) => ({
    async changedSince(request, call) {
      const answer = await inner.changedSince(request, call);
      return { ...answer, rows: answer.rows.slice(0, 3) };
    },
  })),
  "takes the newest change for where a page ends": breaking(({ inner }) => ({
    async changedSince(request, call) {
      const { cursor } = await inner.changedSince({ ...request, limit: 10_000 }, call);
      return { ...(await inner.changedSince(request, call)), cursor };
    },
  })),
  "tells changes in the order of ids": breaking(({ inner }) => ({
    async changedSince(request, call) {
      const answer = await inner.changedSince(request, call);
      return { ...answer, rows: [...answer.rows].sort((a, b) => (a.id < b.id ? -1 : 1)) };
    },
  })),
  "takes a foreign cursor for its own": breaking(({ inner }) => ({
    changedSince: async (request, call) => ({ ...(await inner.changedSince(request, call)), reset: false }),
  })),
  "begins again without saying so": breaking(({ inner }) => ({
    async changedSince(request, call) {
      const { rows, cursor } = await inner.changedSince(request, call);
      const isNew = request.cursor === undefined || rows.length > 0;
      return isNew
        ? { rows, cursor, reset: false }
        : inner.changedSince({ group: request.group, limit: request.limit }, call);
    },
  })),

  // --------------------------------------------------------------------------------------------------- closing
  "answers about resources after it was closed": (clock) => {
    const store = memoryStore({ clock });
    const open = memoryStore({ clock });
    return { ...store, resources: open.resources };
  },
};
