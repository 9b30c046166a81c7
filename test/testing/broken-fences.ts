import { memoryStore } from "evenkeel/memory";
import type { ManualClock } from "evenkeel/testing";
import { assertFences, copyOfApply } from "../../src/resource-writes.ts";
import type {
  ApplyRequest,
  ApplyResult,
  Fence,
  LedgerStore,
  ResourceStore,
  ResourceWrite,
  WriteResult,
} from "../../src/store.ts";

/** A batch, and what came of it but for its fences. */
interface Batch {
  readonly request: ApplyRequest;
  readonly fences: readonly Fence[];
  /** Those of its fences that are too low, with what was seen. */
  readonly higher: readonly Fence[];
  /** Of the writes that were let in. */
  readonly results: readonly WriteResult[];
  readonly isNewGroup: boolean;
}

type Decided = Extract<ApplyResult, { readonly status: "decided" }>;

/** What a store does about fences, rule by rule, so that each can be broken by itself. */
interface FenceRules {
  accept(request: ApplyRequest): ApplyRequest;
  keyOf(group: string, name: string): string;
  isLower(epoch: number, seen: number): boolean;
  isFenced(write: ResourceWrite, higher: readonly Fence[]): boolean;
  /** What goes to the store below, which knows no fences. */
  sent(request: ApplyRequest, higher: readonly Fence[]): ApplyRequest;
  isKept(fence: Fence, batch: Batch): boolean;
  kept(epoch: number): number;
  keepsWhenFenced: "all" | "none";
  fencedResult(write: ResourceWrite, epoch: number): WriteResult;
  answer(answer: Decided, batch: Batch): ApplyResult;
  afterPurge(seen: Map<string, number>): void;
}

const RIGHT: FenceRules = {
  accept(request) {
    assertFences(request.writes, request.fences);
    return request;
  },
  keyOf: (group, name) => JSON.stringify([group, name]),
  isLower: (epoch, seen) => epoch < seen,
  isFenced: (write, higher) => higher.some(({ name }) => name === write.fence),
  sent: (request) => request,
  isKept: (fence, { higher }) => higher.every(({ name }) => name !== fence.name),
  kept: (epoch) => epoch,
  keepsWhenFenced: "none",
  fencedResult: (_, epoch) => ({ status: "fenced", epoch }),
  answer: (answer) => answer,
  afterPurge: () => {},
};

/** The reference store, whose own fences are left unused for some that are kept here, by these rules. */
function fencing(changes: Partial<FenceRules>): (clock: ManualClock) => LedgerStore {
  const rules = { ...RIGHT, ...changes };
  return (clock) => {
    const store = memoryStore({ clock });
    const inner = store.resources;
    const seen = new Map<string, number>();
    const calls = inTurn();
    const purge: ResourceStore["purge"] = async (request, call) => {
      const answer = await inner.purge(request, call);
      rules.afterPurge(seen);
      return answer;
    };
    const apply: ResourceStore["apply"] = async (asked, call) => {
      const request = copyOfApply(rules.accept(asked));
      return calls(async () => {
        const { group, fences = [] } = request;
        const keep = ({ name, epoch }: Fence) => seen.set(rules.keyOf(group, name), rules.kept(epoch));
        const higher = fences.flatMap(({ name, epoch }) => {
          const known = seen.get(rules.keyOf(group, name));
          return known !== undefined && rules.isLower(epoch, known) ? [{ name, epoch: known }] : [];
        });
        const writes = request.writes.filter((write) => !rules.isFenced(write, higher)).map(withoutFence);
        const isNewGroup = !(await inner.listGroups({ limit: 1_000 }, call)).includes(group);
        const below = await inner.apply({ ...rules.sent(request, higher), fences: [], writes }, call);
        if (below.status === "fenced") {
          if (rules.keepsWhenFenced === "all") fences.forEach(keep);
          return below;
        }
        const batch: Batch = { request, fences, higher, results: below.results, isNewGroup };
        for (const fence of fences) if (rules.isKept(fence, batch)) keep(fence);
        const letIn = [...below.results];
        const results = request.writes.map((write) => {
          if (!rules.isFenced(write, higher)) return letIn.shift() as WriteResult;
          const epoch = (higher.find(({ name }) => name === write.fence) ?? higher[0])?.epoch;
          return rules.fencedResult(write, epoch as number);
        });
        return rules.answer({ status: "decided", results, ...(higher.length > 0 && { fences: higher }) }, batch);
      });
    };
    return { ...store, resources: { ...inner, apply, purge } };
  };
}

function inTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work);
    last = next.catch(() => {});
    return next;
  };
}

function withoutFence({ fence: _fence, ...write }: ResourceWrite): ResourceWrite {
  return write as ResourceWrite;
}

/** Whether a fence is one that the right rules keep, and this too. */
function only(isKept: (fence: Fence, batch: Batch) => boolean): Pick<FenceRules, "isKept"> {
  return { isKept: (fence, batch) => RIGHT.isKept(fence, batch) && isKept(fence, batch) };
}

function withFences(change: (fences: readonly Fence[], batch: Batch) => readonly Fence[]): Pick<FenceRules, "answer"> {
  return {
    answer: (answer, batch) =>
      answer.fences === undefined ? answer : { ...answer, fences: change(answer.fences, batch) },
  };
}

/** The reference store with fences that are broken in one way each. */
export const brokenFences: Readonly<Record<string, (clock: ManualClock) => LedgerStore>> = {
  "changes nothing": fencing({}),

  // -------------------------------------------------------------------------------------------- what is compared
  "fences no part": fencing({ isLower: () => false }),
  "fences an epoch that it has seen": fencing({ isLower: (epoch, seen) => epoch <= seen }),
  "compares epochs as texts": fencing({ isLower: (epoch, seen) => String(epoch) < String(seen) }),
  "has the fences of all groups in one": fencing({ keyOf: (_, name) => name }),
  "has one fence for all parts of a group": fencing({ keyOf: (group) => group }),
  "folds the case of names": fencing({ keyOf: (group, name) => JSON.stringify([group, name.toLowerCase()]) }),
  "composes the characters of names": fencing({ keyOf: (group, name) => JSON.stringify([group, name.normalize()]) }),
  "trims names": fencing({ keyOf: (group, name) => JSON.stringify([group, name.trim()]) }),
  "cuts names": fencing({ keyOf: (group, name) => JSON.stringify([group, name.slice(0, 6)]) }),
  "keeps epochs in 32 bits": fencing({ kept: (epoch) => Math.min(epoch, 2 ** 31 - 1) }),

  // ------------------------------------------------------------------------------------------------ what is kept
  "forgets each fence": fencing({ isKept: () => false }),
  "keeps a lower epoch": fencing({ isKept: () => true }),
  "keeps no fence of a batch without writes": fencing(only((_, { request }) => request.writes.length > 0)),
  "keeps no fence that no write stands under": fencing(
    only(({ name }, { request }) => request.writes.length === 0 || request.writes.some(({ fence }) => fence === name)),
  ),
  "keeps no fence of a batch of which nothing applies": fencing(
    only((_, { results }) => results.length === 0 || results.some(({ status }) => status === "applied")),
  ),
  "keeps no fence of a batch of which one is too low": fencing(only((_, { higher }) => higher.length === 0)),
  "keeps no fence of a group that is new": fencing(only((_, { isNewGroup }) => !isNewGroup)),
  "keeps the fences of a batch that the group fenced": fencing({ keepsWhenFenced: "all" }),
  "keeps a few hundred fences": fencing(only(({ name }, { fences }) => fences.findIndex((f) => f.name === name) < 512)),
  "forgets fences with a purge": fencing({ afterPurge: (seen) => seen.clear() }),
  "takes the highest epoch of a part for the group's": fencing({
    sent: (request) => ({ ...request, epoch: Math.max(request.epoch, ...(request.fences ?? []).map((f) => f.epoch)) }),
  }),
  "loses the status of a batch of which a fence is too low": fencing({
    sent: ({ status, ...request }, higher) =>
      higher.length > 0 || status === undefined ? request : { ...request, status },
  }),
  "loses the epoch of a batch of which a fence is too low": fencing({
    sent: (request, higher) => (higher.length > 0 ? { ...request, epoch: 0 } : request),
  }),

  // --------------------------------------------------------------------------------------------- what is let in
  "fences the whole batch for one of its fences": fencing({ isFenced: (_, higher) => higher.length > 0 }),
  "fences what stands under no fence": fencing({
    isFenced: (write, higher) => RIGHT.isFenced(write, higher) || (write.fence === undefined && higher.length > 0),
  }),
  "fences no creation": fencing({
    isFenced: (write, higher) => write.kind === "update" && RIGHT.isFenced(write, higher),
  }),
  "fences no update": fencing({
    isFenced: (write, higher) => write.kind === "create" && RIGHT.isFenced(write, higher),
  }),
  "writes what it says that it fences": fencing({
    isFenced: () => false,
    answer: (answer, { request, higher }) => ({
      ...answer,
      results: answer.results.map((result, index) => {
        const own = higher.find(({ name }) => name === request.writes[index]?.fence);
        return own === undefined ? result : { status: "fenced", epoch: own.epoch };
      }),
    }),
  }),
  "knows again what it should fence": (clock) => {
    const nonces = new Set<string>();
    return fencing({
      isFenced: (write, higher) => RIGHT.isFenced(write, higher) && !nonces.has(write.nonce),
      answer(answer, { request }) {
        for (const { nonce } of request.writes) nonces.add(nonce);
        return answer;
      },
    })(clock);
  },
  "takes a fence that its batch does not have for none": fencing({
    accept({ fences = [], ...request }) {
      const names = fences.map(({ name }) => name);
      const writes = request.writes.map((write) => (names.includes(write.fence ?? "") ? write : withoutFence(write)));
      return { ...request, fences, writes };
    },
  }),
  "takes the last of two fences of one name": fencing({
    accept: ({ fences = [], ...request }) => ({
      ...request,
      fences: [...new Map(fences.map((each) => [each.name, each])).values()],
    }),
  }),

  // --------------------------------------------------------------------------------------------- what is answered
  "answers a fenced batch of fences with its first epoch": fencing({
    answer: (answer, { higher: [first] }) => (first === undefined ? answer : { status: "fenced", epoch: first.epoch }),
  }),
  "answers conflict for what it fences": fencing({ fencedResult: () => ({ status: "conflict" }) }),
  "tells a fenced write the epoch that it came with": fencing({
    answer: (answer, { request, fences }) => ({
      ...answer,
      results: answer.results.map((result, index) => {
        const asked = fences.find(({ name }) => name === request.writes[index]?.fence);
        return result.status === "fenced" && asked !== undefined ? { status: "fenced", epoch: asked.epoch } : result;
      }),
    }),
  }),
  "does not tell which fences are too low": fencing({
    answer: ({ fences: _fences, ...answer }) => answer,
  }),
  "tells of no fences where none is too low": fencing({ answer: (answer) => ({ fences: [], ...answer }) }),
  "tells all fences of the batch": fencing(
    withFences((higher, { fences }) => fences.map((each) => higher.find(({ name }) => name === each.name) ?? each)),
  ),
  "tells the first fence alone": fencing(withFences((higher) => higher.slice(0, 1))),
  "tells fences in the order of their names": fencing(
    withFences((higher) => [...higher].sort((a, b) => (a.name < b.name ? -1 : 1))),
  ),
  "tells the epochs that fences came with": fencing(
    withFences((higher, { fences }) => fences.filter(({ name }) => higher.some((each) => each.name === name))),
  ),
};
