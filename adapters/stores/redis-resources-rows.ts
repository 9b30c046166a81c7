import { recordCorrupt } from "../../src/execution-record.ts";
import { type ResourceRecord, resourceRowOf } from "../../src/resource-record.ts";
import type { Fence, ResourceRow, ResourceState, ResourceWrite } from "../../src/store.ts";
import { text } from "./redis-rows.ts";
import { originalText, storedText } from "./stored-texts.ts";

/** What a script answered, as the drivers give it. */
export type Reply = readonly unknown[];

const NEWLINE = 10;

/**
 * A row as the scripts pack it (`ROWS` in `redis-resources-lua.ts`), and its spec, which rests beside it.
 * @throws EvenkeelError `RECORD_CORRUPT` for a row that this version did not write.
 */
export function rowFrom(group: string, packed: unknown, spec: string | undefined, nowMs: number): ResourceRow {
  const bytes = bytesOf(packed);
  const lineEnd = bytes.indexOf(NEWLINE);
  const [format, state, ...digits] = bytes.toString("latin1", 0, Math.max(0, lineEnd)).split(" ");
  if (format !== "1" || digits.length !== 16) throw recordCorrupt("it is not a resource");
  const numbers = digits.map((each) => (each === "-" ? undefined : Number(each)));
  let at = lineEnd + 1;
  const take = (length: number | undefined): string | undefined => {
    if (length === undefined) return undefined;
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  const [incarnation, generation, attempt, fencingToken, createdAt, stateChangedAt, ...others] = numbers;
  const [provisionedAt, lastHeartbeatAt, leaseExpiresAt, version, sequence, ...lengths] = others;
  const [idLength, nonceLength, , externalIdLength, reasonLength] = lengths;
  const takeText = (length: number | undefined): string | undefined => {
    const stored = take(length);
    return stored === undefined ? undefined : originalText(stored);
  };
  const texts = {
    id: take(idLength),
    nonce: take(nonceLength),
    externalId: takeText(externalIdLength),
    reason: takeText(reasonLength),
  };
  // The scripts have checked it: what has to be there is there.
  const record = { group, state: state as ResourceState, incarnation, generation, attempt, fencingToken } as object;
  const times = { createdAt, stateChangedAt, provisionedAt, lastHeartbeatAt, leaseExpiresAt };
  return resourceRowOf(present({ ...record, ...texts, spec, ...times, version, sequence }) as ResourceRecord, nowMs);
}

/** The rows of an answer from a place on, each with its spec. */
export function rowsFrom(group: string, reply: Reply, at: number, nowMs: number): ResourceRow[] {
  const rows: ResourceRow[] = [];
  for (let index = at; index < reply.length; index += 2) {
    rows.push(rowFrom(group, reply[index], optionalText(reply[index + 1]), nowMs));
  }
  return rows;
}

/** The fences of a batch as arguments of the script that applies it: how many, and the name and the epoch of each. */
export function fenceArguments(fences: readonly Fence[]): string[] {
  return [String(fences.length), ...fences.flatMap(({ name, epoch }) => [name, String(epoch)])];
}

/** The writes of a batch as arguments of that script: of each a line of words, the id, the nonce, and the texts. */
export function writesArguments(writes: readonly ResourceWrite[], fences: readonly Fence[]): string[] {
  const places = new Map(fences.map(({ name }, index) => [name, index + 1]));
  return writes.flatMap((write) => writeArguments(write, places.get(write.fence as string) ?? 0));
}

/** @param fence - the place of its fence among those of the batch, from 1 on; 0 where it stands under none. */
function writeArguments(write: ResourceWrite, fence: number): string[] {
  const { id, nonce, spec, externalId, reason, lease } = write;
  const isCreation = write.kind === "create";
  const words = [
    fence,
    write.kind,
    write.state,
    write.generation,
    write.attempt,
    isCreation ? write.after : write.incarnation,
    isCreation ? "-" : write.expectedVersion,
    (isCreation ? undefined : write.ifSilentForMs) ?? "-",
    lease?.durationMs ?? "-",
    lease?.token ?? "none",
    [spec, externalId, reason].map((each) => (each === undefined ? "0" : "1")).join(""),
  ];
  return [words.join(" "), id, nonce, ...[spec, externalId, reason].map((each = "") => storedText(each))];
}

/** A text of the caller's in an answer, or nothing. */
export function optionalText(value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : originalText(text(value));
}

function bytesOf(value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  throw recordCorrupt("something of it is missing");
}

function present(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
