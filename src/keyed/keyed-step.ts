import { isEvenkeelError } from "../errors.ts";
import { type ExecutionRecord, recordCorrupt } from "../execution-record.ts";
import type { LeaseRecord } from "../lease-record.ts";
import type { GroupRecord, ResourceRecord } from "../resource-record.ts";
import type { KeyedTransaction } from "./keyed-engine.ts";
import {
  contentOf,
  readCounter,
  readExecution,
  readFence,
  readGroup,
  readLease,
  readResource,
  type StoredExecution,
  type StoredFence,
  textOf,
} from "./record-json.ts";

type ResourceName = Pick<ResourceRecord, "group" | "id" | "incarnation">;
type FenceName = Pick<StoredFence, "group" | "name">;

/** One step of the engine, in terms of records. */
export class KeyedStep {
  readonly nowMs: number;
  readonly executions: Records<string, StoredExecution>;
  readonly leases: Records<string, LeaseRecord>;
  readonly groups: Records<string, GroupRecord>;
  readonly resources: Records<ResourceName, ResourceRecord>;
  readonly fences: Records<FenceName, StoredFence>;
  readonly #tx: KeyedTransaction;

  constructor(tx: KeyedTransaction, nowMs: number) {
    this.#tx = tx;
    this.nowMs = nowMs;
    const nameOfExecution = ({ record }: { record: ExecutionRecord }): string => record.id;
    this.executions = new Records(tx, "execution:", (id) => id, nameOfExecution, readExecution);
    this.leases = new Records(
      tx,
      "lease:",
      (name) => name,
      ({ name }) => name,
      readLease,
    );
    this.groups = new Records(
      tx,
      "group:",
      (group) => group,
      ({ group }) => group,
      readGroup,
    );
    this.resources = new Records<ResourceName, ResourceRecord>(
      tx,
      "resource:",
      resourceKey,
      (record) => record,
      readResource,
    );
    this.fences = new Records<FenceName, StoredFence>(tx, "fence:", fenceKey, (fence) => fence, readFence);
  }

  /** A number higher than all before it: fencing tokens and epochs. It has a key of its own, which nothing deletes. */
  readonly nextToken = (): number => {
    const stored = this.#tx.get("counter");
    const next = (stored === undefined ? 0 : contentOf(stored, readCounter)) + 1;
    this.#tx.set("counter", textOf(next));
    return next;
  };

  /** The rows of one group. */
  rows(group: string): ResourceRecord[] {
    return this.resources.readable(`${JSON.stringify([group]).slice(0, -1)},`);
  }
}

/** The records of one kind. */
export class Records<Name, Content extends object> {
  readonly #tx: KeyedTransaction;
  readonly #prefix: string;
  readonly #keyOf: (name: Name) => string;
  readonly #nameOf: (content: Content) => Name;
  readonly #read: Parameters<typeof contentOf<Content>>[1];

  constructor(
    tx: KeyedTransaction,
    prefix: string,
    keyOf: (name: Name) => string,
    nameOf: (content: Content) => Name,
    read: Parameters<typeof contentOf<Content>>[1],
  ) {
    this.#tx = tx;
    this.#prefix = prefix;
    this.#keyOf = keyOf;
    this.#nameOf = nameOf;
    this.#read = read;
  }

  /** @throws EvenkeelError `RECORD_CORRUPT`. */
  get(name: Name): Content | undefined {
    return this.#load(this.#prefix + this.#keyOf(name));
  }

  set(content: Content): void {
    this.#tx.set(this.#prefix + this.#keyOf(this.#nameOf(content)), textOf(content));
  }

  delete(name: Name): void {
    this.#tx.delete(this.#prefix + this.#keyOf(name));
  }

  /** The parts of keys that begin so, without what all records of the kind have in front. */
  keys(prefix = ""): string[] {
    return [...this.#tx.keys(this.#prefix + prefix)].map((key) => key.slice(this.#prefix.length));
  }

  /** The records whose keys begin so. One that is broken must not hide all others: `get` says of it that it is corrupt. */
  readable(prefix = ""): Content[] {
    return this.keys(prefix).flatMap((key) => this.readableAt(key) ?? []);
  }

  readableAt(key: string): Content | undefined {
    try {
      return this.#load(this.#prefix + key);
    } catch (error) {
      if (isEvenkeelError(error) && error.code === "RECORD_CORRUPT") return undefined;
      throw error;
    }
  }

  #load(key: string): Content | undefined {
    const stored = this.#tx.get(key);
    if (stored === undefined) return undefined;
    const content = contentOf(stored, this.#read);
    if (this.#prefix + this.#keyOf(this.#nameOf(content)) !== key) throw recordCorrupt("it is another record's");
    return content;
  }
}

/** Injective whatever characters the names hold. */
function resourceKey({ group, id, incarnation }: ResourceName): string {
  return JSON.stringify([group, id, incarnation]);
}

function fenceKey({ group, name }: FenceName): string {
  return JSON.stringify([group, name]);
}
