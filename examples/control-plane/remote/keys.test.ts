import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { add, ask, askUntilAnswered, assertProblem, firstGroup, unique } from "./client.ts";

describe("a key", () => {
  it("makes a retry the same request: the same answer, and one resource", async () => {
    const [id, key] = [unique("retried"), unique("key")];
    const first = await ask("POST", "/resources", { key, body: { id } });
    const retry = await ask("POST", "/resources", { key, body: { id } });
    const other = await ask("POST", "/resources", { key, header: "X-Idempotency-Key", body: { id } });
    await ask("DELETE", `/resources/${id}`);
    assert.equal(first.status, 201);
    assert.equal(first.headers.get("location")?.startsWith(`/resources/${id}`), true);
    assert.equal(first.json.created, true);
    assert.equal(first.headers.get("idempotent-replayed"), null);
    for (const replay of [retry, other]) {
      assert.deepEqual([replay.status, replay.text], [201, first.text]);
      assert.equal(replay.headers.get("location"), first.headers.get("location"));
      assert.equal(replay.headers.get("idempotent-replayed"), "true");
    }
  });

  it("that is used for another body is refused with 422, and changes nothing", async () => {
    const [id, other, key] = [unique("first"), unique("second"), unique("key")];
    const first = await ask("POST", "/resources", { key, body: { id } });
    assert.equal(first.status, 201);
    const mismatch = await ask("POST", "/resources", { key, body: { id: other } });
    assert.equal((await ask("DELETE", `/resources/${id}`)).status, 204);
    assertProblem(mismatch, 422);
    assert.equal(mismatch.json.code, "FINGERPRINT_MISMATCH");
    assert.equal((await ask("GET", `/resources/${other}`)).status, 404);
  });

  it("that is still at work is 409, with when to come back, and the retry then gets the answer of the first", async () => {
    let refusals = 0;
    for (let round = 0; round < 20 && refusals === 0; round += 1) {
      const [id, key] = [unique("together"), unique("key")];
      const asked = { key, body: { id } };
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask("POST", "/resources", asked)));
      const last = await askUntilAnswered("POST", "/resources", asked);
      await ask("DELETE", `/resources/${id}`);
      for (const answer of answers) {
        if (answer.status === 201) assert.equal(answer.text, last.text);
        else assertProblem(answer, 409);
        if (answer.status === 409) assert.ok(Number(answer.headers.get("retry-after")) >= 1);
      }
      refusals += answers.filter(({ status }) => status === 409).length;
      assert.deepEqual([last.status, last.headers.get("idempotent-replayed")], [201, "true"]);
    }
    assert.ok(refusals > 0, "none of 400 requests came while another one was at work");
  });

  it("is required where something is made or set", async () => {
    const { name, desired } = await firstGroup();
    for (const answer of [
      await ask("POST", "/resources", { body: { id: unique("keyless") } }),
      await ask("PUT", `/desired/${name}`, { body: { desired } }),
    ]) {
      assertProblem(answer, 400);
      assert.equal(answer.json.code, "KEY_MISSING");
    }
  });
});

describe("a resource", () => {
  it("is not made again under another key", async () => {
    const id = unique("twice");
    const remove = await add([id]);
    const again = await ask("POST", "/resources", { key: unique("key"), body: { id } });
    const found = await ask("GET", `/resources/${id}`);
    await remove();
    assert.deepEqual([again.status, again.json.created], [200, false]);
    assert.deepEqual([found.status, found.json.desired, found.json.id], [200, true, id]);
  });

  it("is removed once for a key, however often that is asked", async () => {
    const [id, key] = [unique("removed"), unique("key")];
    await add([id]);
    const first = await ask("DELETE", `/resources/${id}`, { key });
    const retry = await ask("DELETE", `/resources/${id}`, { key });
    assert.deepEqual([first.status, retry.status], [204, 204]);
    assert.equal(retry.headers.get("idempotent-replayed"), "true");
    assertProblem(await ask("DELETE", `/resources/${id}`), 404);
  });
});
