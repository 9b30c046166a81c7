import type { Group } from "./group.ts";
import { type FieldError, Refusal } from "./problems.ts";

/** The groups of this control plane. Where none is named, the first is meant. */
export interface Groups extends Iterable<Group> {
  /** @throws Refusal 404 for another name; where it came in a field, 400 that names that. */
  get(name: string | undefined, field?: string): Group;
}

export function groupsOf(groups: readonly Group[]): Groups {
  return {
    get(name = groups[0]?.name, field) {
      const found = groups.find((group) => group.name === name);
      if (found !== undefined) return found;
      const message = `must be one of ${groups.map((group) => group.name).join(", ")}`;
      const errors: FieldError[] = field === undefined ? [] : [{ field, message }];
      throw new Refusal(field === undefined ? 404 : 400, `There is no group ${name}.`, errors);
    },
    [Symbol.iterator]: () => groups[Symbol.iterator](),
  };
}
