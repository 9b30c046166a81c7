import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Asked, ask, askUntilAnswered, assertProblem, firstGroup, unique } from "./client.ts";

/** Deeper than a ledger keeps anything. */
const DEEP = `${"[".repeat(1_000)}${"]".repeat(1_000)}`;

/** What can be wrong with a body, and the field that has to be named. */
const WRONG: readonly (readonly [what: string, method: string, path: string, asked: Asked, field: string])[] = [
  ["no id", "POST", "/resources", { body: {} }, "id"],
  ["an id that is no text", "POST", "/resources", { body: { id: 7 } }, "id"],
  ["an id that is no file's name", "POST", "/resources", { body: { id: "../etc" } }, "id"],
  ["a field that is not known", "POST", "/resources", { body: { id: "a", size: 1 } }, "size"],
  ["a group that is not there", "POST", "/resources", { body: { id: "a", group: "nobody" } }, "group"],
  ["no object", "POST", "/resources", { body: ["a"] }, "body"],
  ["no JSON", "POST", "/resources", { raw: '{"id":' }, "body"],
  ["no body", "POST", "/resources", {}, "body"],
  ["a spec that is too deep", "POST", "/resources", { raw: `{"id":"a","spec":${DEEP}}` }, "spec"],
  ["a prototype", "POST", "/resources", { raw: '{"id":"a","spec":{"__proto__":1}}' }, "body"],
  ["neither number nor list", "PUT", "/desired/GROUP", { body: {} }, "desired"],
  ["a number as text", "PUT", "/desired/GROUP", { body: { desired: "5" } }, "desired"],
  ["half a worker", "PUT", "/desired/GROUP", { body: { desired: 0.5 } }, "desired"],
  ["less than none", "PUT", "/desired/GROUP", { body: { desired: -1 } }, "desired"],
  ["more than a machine has", "PUT", "/desired/GROUP", { body: { desired: 1e9 } }, "desired"],
  ["number and list", "PUT", "/desired/GROUP", { body: { desired: 0, resources: [] } }, "resources"],
  ["an id twice", "PUT", "/desired/GROUP", { body: { resources: [{ id: "a" }, { id: "a" }] } }, "resources"],
  [
    "a spec that is too deep",
    "PUT",
    "/desired/GROUP",
    { raw: `{"resources":[{"id":"a","spec":${DEEP}}]}` },
    "resources",
  ],
  ["an entry without id", "PUT", "/desired/GROUP", { body: { resources: [{ id: "a" }, {}] } }, "resources.1.id"],
  ["an id that is too long", "POST", `/resources/${"a".repeat(255)}/heartbeat`, { body: {} }, "id"],
  ["an incarnation of none", "POST", "/resources/a/heartbeat", { body: { incarnation: 0 } }, "incarnation"],
  ["an incarnation past all", "POST", "/resources/a/heartbeat", { body: { incarnation: 2 ** 53 } }, "incarnation"],
];

describe("a request that is wrong is a problem that names the field", () => {
  for (const [what, method, path, asked, field] of WRONG) {
    it(`${method} ${path} with ${what}`, async () => {
      const before = await firstGroup();
      const key = unique("key");
      const answer = await ask(method, path.replace("GROUP", before.name), { ...asked, key });
      assertProblem(answer, 400);
      const fields = answer.json.errors.map((error: { field: string }) => error.field);
      assert.ok(fields.includes(field), JSON.stringify(answer.json));
      for (const { message } of answer.json.errors) assert.match(message, /\S/);
      assert.equal((await firstGroup()).desired, before.desired);
    });
  }

  it("leaves its key free for the request that was meant", async () => {
    const [id, key] = [unique("corrected"), unique("key")];
    assertProblem(await ask("POST", "/resources", { key, body: { id, size: 1 } }), 400);
    assert.equal((await ask("POST", "/resources", { key, body: { id } })).status, 201);
    assert.equal((await ask("DELETE", `/resources/${id}`)).status, 204);
  });

  it("says 404 for what is not there", async () => {
    assertProblem(await ask("PUT", "/desired/nobody", { key: unique("key"), body: { desired: 1 } }), 404);
    assertProblem(await ask("GET", `/resources/${unique("nothing")}`), 404);
    assertProblem(await ask("DELETE", `/resources/${unique("nothing")}`), 404);
    assertProblem(await ask("GET", "/nothing-of-the-kind"), 404);
    assertProblem(await ask("GET", `/desired/${"a".repeat(150)}`), 404);
  });

  it("says 400 for a path that can't be read", async () => {
    assertProblem(await ask("GET", "/desired/%zz"), 400);
  });

  it("says 431 for what is longer than a request can be", async () => {
    assertProblem(await ask("GET", `/${"a".repeat(20_000)}`), 431);
  });

  it("sends the workers of another ledger away", async () => {
    const asked = { body: { incarnation: 1, ledger: "another" } };
    assertProblem(await askUntilAnswered("POST", "/resources/worker-0/heartbeat", asked), 421);
  });
});
