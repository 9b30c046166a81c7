import { createHash } from "node:crypto";
import type { ScriptCall } from "./redis-connection.ts";

/** Digits of the group's digest in the names of its keys: 128 bits. The group's record has the name itself, and is compared. */
const TAG_DIGITS = 32;

/**
 * The keys of one group, as each script of resources gets them. They share a hash tag, so that one script can reach all of
 * them; no text of a user is part of one.
 *
 * Rows are fields of hashes and not keys of their own, so that a script declares every key that it touches, which clusters
 * and proxies ask for. A field, and the member of an index, is a row's id, a NUL and its incarnation in 16 digits: their
 * order by bytes is that of `list`.
 */
export function groupKeys(prefix: string, group: string): ScriptCall["keys"] {
  const tag = groupTag(prefix, group);
  return [
    // A hash: the group's record.
    `${tag}:group`,
    // A hash: the rows, packed, without their specs.
    `${tag}:rows`,
    // A hash: the specs of the rows that have one. Apart, so that heartbeats and scans don't move megabytes.
    `${tag}:specs`,
    // Sorted sets: all rows in the order of `list`; by their last write; the PROVISIONED ones by their last sign of life; the
    // TERMINATED ones by when they became so.
    `${tag}:order`,
    `${tag}:changes`,
    `${tag}:silent`,
    `${tag}:ended`,
  ];
}

/**
 * A hash: the highest epochs seen in parts of a group, by the names of the fences. The last key of scripts that get fences, and of
 * no others.
 */
export function fencesKey(prefix: string, group: string): string {
  return `${groupTag(prefix, group)}:fences`;
}

function groupTag(prefix: string, group: string): string {
  const digest = createHash("sha256").update(group).digest("hex").slice(0, TAG_DIGITS);
  return `${prefix}{g:${digest}}`;
}

/** A sorted set of the names of the groups. It has a slot of its own, since groups have theirs. */
export function groupNamesKey(prefix: string): string {
  return `${prefix}{groups}:names`;
}

/** A row's field and member. */
export function rowMember({ id, incarnation }: { readonly id: string; readonly incarnation: number }): string {
  return `${id}\0${String(incarnation).padStart(16, "0")}`;
}
