import { describe, expect, it } from "vitest";
import { dashboard } from "../../../adapters/dashboard/dashboard.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { digest } from "../../../src/digest.ts";
import { Reconciler } from "../../../src/index.ts";
import { servedBoard } from "./server-board.ts";

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

describe("the page", () => {
  it("comes with its script, its style and its icon, and has nothing inline", async () => {
    const { server } = await servedBoard();
    const page = await server.ask("/");
    expect(page.status).toBe(200);
    expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(page.text).not.toMatch(/<script(?! type="module" src="page.js"><\/script>)|<style|style=|\son\w+=/);
    for (const [path, type] of [
      ["/page.js", "text/javascript; charset=utf-8"],
      ["/page.css", "text/css; charset=utf-8"],
      ["/icon.svg", "image/svg+xml"],
    ] as const) {
      expect(page.text).toContain(`"${path.slice(1)}"`);
      const { status, headers, text } = await server.ask(path);
      expect({ status, type: headers["content-type"] }).toEqual({ status: 200, type });
      expect(text.length).toBeGreaterThan(100);
      expect(headers.etag, "to its end").toBe(`"${digest(text).slice(0, 32)}"`);
    }
  });

  it("has its title as text, whatever stands in it", async () => {
    const { server } = await servedBoard({ title: `</title><script>alert("1 & 2")</script>'` });
    const { text } = await server.ask("/");
    expect(text).toContain(
      "<title>&lt;/title&gt;&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;&#39;</title>",
    );
    expect(text.match(/<script/g)).toHaveLength(1);
  });

  it("keeps everything else out, on every answer", async () => {
    const { server } = await servedBoard({ actions: true });
    const watching = server.watch();
    await expect.poll(() => watching.headers).toBeDefined();
    const answers = [
      await server.ask("/"),
      await server.ask("/page.js"),
      await server.ask("/nowhere"),
      await server.ask("/", { method: "DELETE" }),
      await server.ask("/actions", { method: "POST", body: {} }),
      await server.ask("/plan"),
    ];
    for (const headers of [...answers.map((answer) => answer.headers), watching.headers]) {
      expect(headers).toMatchObject({
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      });
      expect(headers?.["access-control-allow-origin"]).toBeUndefined();
    }
  });

  it("is sent anew only when it is another", async () => {
    const { server } = await servedBoard();
    for (const path of ["/", "/page.js", "/page.css", "/icon.svg"]) {
      const { headers } = await server.ask(path);
      expect(headers["cache-control"]).toBe("no-cache");
      const tag = headers.etag ?? "";
      const again = await server.ask(path, { headers: { "If-None-Match": `"other", W/${tag}` } });
      expect({ status: again.status, text: again.text, tag: again.headers.etag }).toEqual({
        status: 304,
        text: "",
        tag,
      });
      expect((await server.ask(path, { headers: { "If-None-Match": '"other"' } })).status).toBe(200);
    }
    const { server: other } = await servedBoard({ title: "another" });
    expect((await other.ask("/")).headers.etag).not.toBe((await server.ask("/")).headers.etag);
  });

  it("is where it was mounted, below a slash that a proxy's prefix can stand before", async () => {
    const { server } = await servedBoard({ basePath: "/ops/board" });
    const bare = await server.ask("/ops/board?x=1");
    expect({ status: bare.status, location: bare.headers.location }).toEqual({ status: 308, location: "./board/?x=1" });
    expect((await server.ask("/ops/board/")).status).toBe(200);
    expect((await server.ask("/ops/board/page.js")).status).toBe(200);
    for (const path of ["/", "/page.js", "/ops/boards/", "/ops", "/ops/board/ops/board/", "//ops/board/"])
      expect((await server.ask(path)).status, path).toBe(404);
  });
});

describe("what is not there", () => {
  it("is a problem document, and other methods are told which there are", async () => {
    const { server } = await servedBoard();
    const nowhere = await server.ask("/nowhere");
    expect(nowhere.status).toBe(404);
    expect(nowhere.headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(nowhere.text)).toMatchObject({ type: "urn:evenkeel:problem:not-found", status: 404 });
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
      for (const path of ["/", "/page.js", "/events"]) {
        const { status, headers } = await server.ask(path, { method });
        expect({ status, allow: headers.allow }).toEqual({ status: 405, allow: "GET, HEAD" });
      }
      expect((await server.ask("/nowhere", { method })).status).toBe(404);
    }
    const head = await server.ask("/", { method: "HEAD" });
    expect({ status: head.status, text: head.text }).toEqual({ status: 200, text: "" });
  });

  it("makes no server fall, however it is asked", async () => {
    const { server } = await servedBoard({ actions: true });
    for (const path of ["//", "/%", "/%00", "/..%2f..", "/events?after=%", "/plan?group=%ff", "/?%"])
      expect((await server.ask(path)).status, path).toBeLessThan(500);
    expect((await server.ask("/", { method: "TRACE" })).status).toBe(400);
    expect((await server.ask("/", { headers: { Host: "a b:c/@" } })).status).toBe(200);
    expect((await server.ask("/")).status).toBe(200);
  });

  it.each([
    ["group", `/events?group=${"x".repeat(256)}`],
    ["group", "/events?group=a%00b"],
    ["states", "/events?group=web&states=PENDING,GONE"],
    ["states", "/events?group=web&states="],
    ["limit", "/events?limit=0"],
    ["limit", "/events?limit=201"],
    ["limit", "/events?limit=x"],
    ["after", "/events?group=web&after=x"],
    ["after", `/events?group=web&after=${Buffer.from('["a",0]').toString("base64url")}`],
  ])("names the %s that is wrong in %s", async (field, path) => {
    const { server } = await servedBoard();
    const { status, text } = await server.ask(path);
    expect(status).toBe(400);
    const { detail, errors } = JSON.parse(text);
    expect(errors).toEqual([{ field, message: expect.any(String) }]);
    expect(detail).toMatch(new RegExp(`^${field} must be `));
  });
});

describe("options", () => {
  const store = memoryStore();
  const web = () => new Reconciler({ name: "web", store, create: () => {}, terminate: () => {} } as never);

  it.each([
    ["store must be a LedgerStore", {}],
    ["store must be a LedgerStore", { store: { executions: store.executions } }],
    ["reconcilers must be a list of Reconcilers", { store, reconcilers: [{}] }],
    ["two reconcilers have the same name", { store, reconcilers: [web(), web()] }],
    ['basePath must be a path that begins with a slash, such as "/dashboard"', { store, basePath: "dashboard" }],
    ["actions must be true or false", { store, actions: 1 }],
    ["intervalMs must be a positive whole number of milliseconds", { store, intervalMs: 0 }],
    ["notes must be a list of { text, command? }", { store, notes: [{ command: "x" }] }],
    ["maxStreams must be a positive whole number", { store, maxStreams: 0 }],
    ["theme is not an option", { store, theme: "dark" }],
  ])("%s", (message, options) => {
    expect(() => dashboard(options as never)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTIONS", message: `dashboard: ${message}.` }),
    );
  });
});
