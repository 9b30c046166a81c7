import express, { type RequestHandler } from "express";
import { describe, expect, it } from "vitest";
import { EXPRESSES, serve } from "./express-service.ts";
import { problem } from "./http-client.ts";

describe.each(EXPRESSES)("the body of a request on %s", (_name, framework) => {
  it("reaches the handler and the fingerprint whole, though something listens to it as it flows", async () => {
    let counted = 0;
    let first: unknown;
    const { client } = await serve(({ app, layer }) => {
      app.use((req, _res, next) => {
        req.on("data", (chunk: Buffer) => {
          counted += chunk.length;
        });
        req.once("data", (chunk: Buffer) => {
          first = chunk[0];
        });
        next();
      });
      app.use(layer(), framework.json({ limit: "1mb" }));
      app.post("/", (req, res) => void res.json({ got: req.body.pad.length, amount: req.body.amount }));
    }, framework);
    const pad = "x".repeat(300_000);
    const send = (amount: number) => client.send({ key: "k", body: { amount, pad } });
    expect((await send(1)).text).toBe('{"got":300000,"amount":1}');
    expect(counted).toBeGreaterThan(300_000);
    expect(first).toBe("{".charCodeAt(0));
    expect((await send(1)).headers["idempotent-replayed"]).toBe("true");
    expect((await send(2)).status).toBe(422);
  });

  it("that somebody has read who left nothing of it is refused, and never counts as equal", async () => {
    let runs = 0;
    const { client } = await serve(({ app, layer }) => {
      app.use(async (req, _res, next) => {
        for await (const _ of req);
        next();
      });
      app.use(layer());
      app.post("/", (_req, res) => void res.json(++runs));
    }, framework);
    for (const amount of [1, 999]) {
      const refused = await client.send({ key: "k", body: { amount } });
      expect(refused.status).toBe(400);
      expect(problem(refused)).toMatchObject({ code: "INVALID_FINGERPRINT" });
    }
    expect(runs).toBe(0);
    expect((await client.send({ key: "empty" })).text).toBe("1");
  });

  it("that nobody can compare is compared by what the user says", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.use(async (req, _res, next) => {
        let text = "";
        for await (const chunk of req) text += chunk;
        Object.assign(req, { payload: text });
        next();
      });
      app.use(layer({ fingerprint: (req) => (req as { payload?: string }).payload }));
      app.post("/", (_req, res) => void res.json("done"));
    }, framework);
    expect((await client.send({ key: "k", body: { amount: 1 } })).status).toBe(200);
    expect((await client.send({ key: "k", body: { amount: 1 } })).headers["idempotent-replayed"]).toBe("true");
    expect((await client.send({ key: "k", body: { amount: 999 } })).status).toBe(422);
  });

  it("is compared by the content of its files, wherever their parser keeps them", async () => {
    const { client } = await serve(({ app, layer }) => {
      app.use(express.raw({ type: "*/*" }), (req, _res, next) => {
        const size = 4;
        const kept = { fieldname: "file", originalname: "a.txt", mimetype: "text/plain", size, buffer: req.body };
        const onDisk = { fieldname: "file", originalname: "a.txt", mimetype: "text/plain", size, path: "/uploads/1" };
        Object.assign(req, { body: {}, files: req.path === "/disk" ? [onDisk] : [kept] });
        next();
      });
      app.use(layer());
      app.post("/:where", (_req, res) => void res.json("stored"));
    }, framework);
    const send = (path: string, body: string) =>
      client.send({ path, key: "k", body, headers: { "Content-Type": "application/octet-stream" } });
    expect((await send("/memory", "aaaa")).status).toBe(200);
    expect((await send("/memory", "aaaa")).headers["idempotent-replayed"]).toBe("true");
    expect((await send("/memory", "bbbb")).status).toBe(422);
    expect(problem(await send("/disk", "aaaa"))).toMatchObject({ status: 400, code: "INVALID_FINGERPRINT" });
  });

  it.each(["utf8", "latin1", "hex", "base64", "utf16le"] as const)(
    "that somebody has asked for as %s reaches the handler as it would without the layer",
    async (encoding) => {
      const { client } = await serve(({ app, layer }) => {
        const handler: RequestHandler = async (req, res) => {
          let text = "";
          for await (const chunk of req) text += chunk;
          res.json(text);
        };
        app.use((req, _res, next) => {
          req.setEncoding(encoding);
          next();
        });
        app.post("/plain", handler);
        app.post("/", layer(), handler);
      }, framework);
      const body = Buffer.from([0x68, 0xc3, 0xa9, 0xe9, 0x00, 0x41, 0x42, 0x43]);
      const plain = await client.send({ path: "/plain", body });
      const first = await client.send({ key: "k", body });
      const retry = await client.send({ key: "k", body });
      expect([first.text, retry.text, retry.headers["idempotent-replayed"]]).toEqual([plain.text, plain.text, "true"]);
    },
  );
});
