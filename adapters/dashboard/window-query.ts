import { rules } from "../../src/option-rules.ts";
import { isResourceState } from "../../src/resources/resource-state.ts";
import type { ResourceState } from "../../src/store.ts";
import { invalidRequest, type Problem } from "./answer.ts";

/** The row after which a window begins. */
export interface WindowStart {
  readonly id: string;
  readonly incarnation: number;
}

/** Which rows a page shows. */
export interface WindowQuery {
  /** Absent where it shows none. */
  readonly group?: string;
  /** Absent for all. */
  readonly states?: readonly ResourceState[];
  readonly after?: WindowStart;
  readonly limit: number;
}

const ROWS = 50;
const MOST_ROWS = 200;

/** Reads what `events?group&states&after&limit` asks for, or says what of it is wrong. */
export function windowQueryOf(asked: URLSearchParams): { readonly query: WindowQuery } | { readonly problem: Problem } {
  const group = asked.get("group") ?? undefined;
  if (group !== undefined && !rules.name.test(group)) return refused("group", `must be ${rules.name.says}`);
  const states = asked.get("states")?.split(",");
  if (states !== undefined && !states.every(isResourceState))
    return refused("states", "must be states of resources, with commas between them");
  const limit = Number(asked.get("limit") ?? ROWS);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_ROWS)
    return refused("limit", `must be a whole number from 1 to ${MOST_ROWS}`);
  const cursor = asked.get("after") ?? undefined;
  const after = cursor === undefined ? undefined : startOf(cursor);
  if (cursor !== undefined && after === undefined) return refused("after", "must be the `next` of a window");
  return {
    query: {
      limit,
      ...(group === undefined ? {} : { group }),
      ...(states === undefined ? {} : { states: [...new Set(states)].sort() }),
      ...(after === undefined ? {} : { after }),
    },
  };
}

/** The text of a start, for addresses. */
export function cursorOf({ id, incarnation }: WindowStart): string {
  return Buffer.from(JSON.stringify([id, incarnation])).toString("base64url");
}

function startOf(cursor: string): WindowStart | undefined {
  try {
    const [id, incarnation] = JSON.parse(Buffer.from(cursor, "base64url").toString()) as unknown[];
    return rules.name.test(id) && rules.count.test(incarnation)
      ? { id: id as string, incarnation: incarnation as number }
      : undefined;
  } catch {
    return undefined;
  }
}

function refused(field: string, message: string): { readonly problem: Problem } {
  return { problem: invalidRequest(field, message) };
}
