import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ask, firstGroup, unique } from "./client.ts";

describe("metrics", () => {
  it("are there for Prometheus: of the group, of requests, and of who leads", async () => {
    const { name } = await firstGroup();
    const [id, key] = [unique("measured"), unique("key")];
    await ask("POST", "/resources", { key, body: { id } });
    await ask("POST", "/resources", { key, body: { id } });
    await ask("DELETE", `/resources/${id}`);
    const { status, headers, text } = await ask("GET", "/metrics");
    assert.deepEqual([status, headers.get("content-type")], [200, "text/plain; version=0.0.4; charset=utf-8"]);
    assert.match(text, new RegExp(`^reconciler_desired\\{[^}]*"${name}"[^}]*\\} \\d+`, "m"));
    assert.match(text, /^reconciler_fenced_writes_total\{[^}]*\} \d+/m);
    assert.match(text, /^idempotency_replays_total\{operation="POST \/resources",from="store"[^}]*\} [1-9]/m);
    assert.match(text, /^election_leading\{[^}]*\} [01]$/m);
    // Neither keys nor ids are in it.
    assert.ok(!text.includes(key) && !text.includes(id));
  });
});
