import { describe, expect, it } from "vitest";
import { actionKey, type KeyedAction } from "../../src/resources/action-key.ts";

const CREATE = { group: "web", id: "a", incarnation: 1, action: "create" } as const;
const UPDATE = { ...CREATE, action: "update", generation: 1, spec: "2" } as const;

describe("the key of an action", () => {
  it("is the same in every process and version, because retries after an upgrade need it", () => {
    expect(actionKey(CREATE)).toBe("575e95ceb2efe675df7a3afe7ce80d114cc03e3aa28e167821107cb85dee3c2e");
    expect(actionKey(UPDATE)).toBe("e744ea44031701d16e71a97bb99f8140c948080490b7ddf9765131ccac7c2b0c");
  });

  it("is of no other action", () => {
    const others: KeyedAction[] = [
      CREATE,
      { ...CREATE, group: "api" },
      { ...CREATE, id: "b" },
      { ...CREATE, group: "we", id: "ba" },
      { ...CREATE, incarnation: 2 },
      { ...CREATE, id: "a1", incarnation: 1 },
      { ...CREATE, id: "a", incarnation: 11 },
      { ...CREATE, action: "terminate" },
      { ...CREATE, action: "forceTerminate" },
      { ...CREATE, action: "terminate", externalId: "vm-1" },
      { ...CREATE, action: "terminate", externalId: "" },
      UPDATE,
      { ...UPDATE, generation: 2 },
      { ...UPDATE, spec: "3" },
      { ...UPDATE, spec: undefined },
      { ...UPDATE, generation: 12, spec: "" },
    ];
    expect(new Set(others.map(actionKey)).size).toBe(others.length);
  });
});
