import type { RequestListener } from "node:http";
import { createRequire } from "node:module";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { describe, expect, it } from "vitest";
import { type Dashboard, dashboard } from "../../../adapters/dashboard/dashboard.ts";
import { memoryStore } from "../../../adapters/stores/memory.ts";
import { Reconciler } from "../../../src/index.ts";
import { endLater } from "./server-board.ts";
import { Served, Watching } from "./server-set-up.ts";

const express4: typeof express = createRequire(import.meta.url)("express4");

interface Mount {
  readonly basePath?: string;
  readonly listener: (board: Dashboard) => RequestListener | Promise<RequestListener>;
}

/** As the guide has them, each below `/ops/dashboard`. */
const MOUNTS: Readonly<Record<string, Mount>> = {
  "node:http": { basePath: "/ops/dashboard/", listener: (board) => board.node },
  Express: {
    listener: (board) => express().use("/ops/dashboard", express.json(), board.node),
  },
  "an Express router": {
    listener(board) {
      const router = express.Router().use("/dashboard", board.node);
      return express().use("/ops", router);
    },
  },
  "Express 4, by its whole path": {
    basePath: "/ops/dashboard",
    listener: (board) => express4().use("/ops", express4.json(), (req, res) => board.node(req, res)),
  },
  Fastify: {
    basePath: "/ops/dashboard",
    async listener(board) {
      const app = fastify();
      for (const path of ["/ops/dashboard", "/ops/dashboard/*"])
        app.all(path, (request, reply) => {
          reply.hijack();
          board.node(request.raw, reply.raw, request);
        });
      await app.ready();
      endLater(() => app.close());
      return (req, res) => app.routing(req, res);
    },
  },
  Koa: {
    basePath: "/ops/dashboard",
    listener(board) {
      const app = new Koa();
      // It writes of each client that leaves while something is sent.
      app.silent = true;
      app.use(async (ctx, next) => {
        if (!/^\/ops\/dashboard(\/|$)/.test(ctx.path)) return next();
        ctx.respond = false;
        board.node(ctx.req, ctx.res, ctx.request);
      });
      return app.callback();
    },
  },
  Hono: {
    basePath: "/ops/dashboard",
    listener(board) {
      const app = new Hono();
      app.all("/ops/dashboard/*", (c) => board.fetch(c.req.raw));
      return getRequestListener(app.fetch);
    },
  },
  "Hono, below a mount": {
    basePath: "/dashboard",
    listener(board) {
      const app = new Hono();
      app.mount("/ops", board.fetch);
      return getRequestListener(app.fetch);
    },
  },
};

async function mounted(mount: Mount) {
  const store = memoryStore();
  const reconciler = new Reconciler({ name: "web", store, create: async () => {}, terminate: async () => {} });
  await reconciler.setDesired(3);
  const { basePath, listener } = mount;
  const options = { store, reconcilers: [reconciler], actions: true, intervalMs: 50, maxStreams: 1 };
  const board = dashboard({ ...options, ...(basePath === undefined ? {} : { basePath }) });
  const server = await Served.by(await listener(board));
  endLater(() => server.close());
  endLater(() => board.close());
  return { server, reconciler };
}

describe.each(Object.entries(MOUNTS))("in %s", (name, mount) => {
  it("the page, its parts, events and actions are below the mount", async () => {
    const { server, reconciler } = await mounted(mount);
    const bare = await server.ask("/ops/dashboard");
    expect({ status: bare.status, location: bare.headers.location }).toEqual({ status: 308, location: "./dashboard/" });
    for (const path of ["", "page.js", "page.css", "icon.svg"]) {
      const { status, headers } = await server.ask(`/ops/dashboard/${path}`);
      expect({ path, status, sniff: headers["x-content-type-options"] }).toEqual({
        path,
        status: 200,
        sniff: "nosniff",
      });
    }
    expect((await server.ask("/ops/dashboard/nowhere")).status).toBe(404);
    const watching = server.watch("/ops/dashboard/events?group=web");
    await expect.poll(() => watching.updates.length).toBeGreaterThan(2);
    expect(watching.headers?.["content-type"]).toBe("text/event-stream");
    expect(watching.last?.groups?.[0]).toMatchObject({ name: "web", desired: 3 });
    const paused = await server.ask("/ops/dashboard/actions", {
      method: "POST",
      body: { type: "pause", group: "web" },
    });
    expect({ status: paused.status, text: paused.text }).toEqual({ status: 204, text: "" });
    expect((await reconciler.status()).paused).toBe(true);
    const wrong = await server.ask("/ops/dashboard/actions", { method: "POST", body: { type: "pause" } });
    expect(JSON.parse(wrong.text).errors[0].field).toBe("group");
    expect((await server.ask("/ops/dashboard/plan?group=web")).status).toBe(200);
  });

  it("an address with a detour is none, so that what is protected by its path has one name", async () => {
    const { server, reconciler } = await mounted(mount);
    for (const detour of ["%2e/actions", "./actions", "x/../actions", "x/%2E%2e/actions", ".%2e/dashboard/actions"]) {
      const path = `/ops/dashboard/${detour}`;
      const { status } = await server.ask(path, { method: "POST", body: { type: "pause", group: "web" } });
      // Frameworks that resolve it before they route have seen where it leads.
      const isResolved = status === 204 && name.startsWith("Hono");
      expect({ detour, isRefused: status === 404 || isResolved }).toEqual({ detour, isRefused: true });
    }
    if (!name.startsWith("Hono")) expect((await reconciler.status()).paused).toBe(false);
  });

  it("a page that leaves makes room for the next", async () => {
    const { server } = await mounted(mount);
    for (let n = 0; n < 3; n += 1) {
      const path = "/ops/dashboard/events";
      await expect
        .poll(async () => {
          const watching = server.watch(path);
          await expect.poll(() => watching.status).toBeDefined();
          if (watching.status !== 200) return watching.status;
          await expect.poll(() => watching.updates.length).toBeGreaterThan(0);
          expect((await server.ask(path)).status).toBe(503);
          watching.leave();
          return 200;
        })
        .toBe(200);
    }
  });
});

it("actions alone can be protected, by their path", async () => {
  const { server, reconciler } = await mounted({
    listener: (board) =>
      express()
        .use(["/dashboard/actions", "/dashboard/plan"], (_, res) => void res.status(401).end())
        .use("/dashboard", board.node),
  });
  expect((await server.ask("/dashboard/")).status).toBe(200);
  expect((await server.ask("/dashboard/plan?group=web")).status).toBe(401);
  const names = [
    "actions",
    "ACTIONS",
    "actions/",
    "/actions",
    "%61ctions",
    "./actions",
    "actions?",
    "actions%2f",
    "actions;a",
  ];
  const paths = names.map((name) => `/dashboard/${name}`);
  for (const path of [...paths, "http://localhost/dashboard/actions", "//dashboard/actions", "/Dashboard/actions"]) {
    const { status } = await server.ask(path, { method: "POST", body: { type: "pause", group: "web" } });
    expect({ path, isRefused: [401, 404].includes(status) }).toEqual({ path, isRefused: true });
  }
  expect((await reconciler.status()).paused).toBe(false);
});

it("a mount with parameters is found, however what stands in for them is written", async () => {
  const { server } = await mounted({ listener: (board) => express().use("/:tenant/dashboard", board.node) });
  for (const tenant of ["a%20b", "a%2fb", "%C3%A9", "{a}", 'a"b']) {
    const path = `/${tenant}/dashboard`;
    const { status, headers } = await server.ask(path);
    expect({ tenant, status, location: headers.location }).toEqual({ tenant, status: 308, location: "./dashboard/" });
    expect((await server.ask(`${path}/page.js`)).status).toBe(200);
  }
});

it("a server that closes waits for no page, once the dashboard is closed", async () => {
  const board = dashboard({ store: memoryStore(), basePath: "/dashboard", intervalMs: 50 });
  const app = fastify();
  app.all("/dashboard/*", (request, reply) => {
    reply.hijack();
    board.node(request.raw, reply.raw, request);
  });
  app.addHook("preClose", async () => board.close());
  await app.listen({ host: "127.0.0.1", port: 0 });
  endLater(() => app.close());
  const watching = new Watching(Served.at(app.server), "/dashboard/events", {});
  await expect.poll(() => watching.updates.length).toBeGreaterThan(0);
  await app.close();
  await expect.poll(() => watching.isOver).toBe(true);
});
