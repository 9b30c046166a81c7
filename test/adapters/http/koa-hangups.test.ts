import { createReadStream } from "node:fs";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Context } from "koa";
import { describe, expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { problem } from "./http-client.ts";
import { KOAS, type KoaClass, type Service, serve } from "./koa-service.ts";
import { gate } from "./suite/gate.ts";

const typesOf = ({ events }: Service): string[] => events.map(({ type }) => type);
const LARGE = "a line of the answer\n".repeat(20_000);

function open(port: number): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
  return socket;
}

/** A stream that gives its first piece at once, and the others only when it is asked again and again. */
function endless(): Readable {
  return Readable.from(
    (async function* () {
      for (;;) {
        yield "piece\n";
        await new Promise(setImmediate);
      }
    })(),
  );
}

function failing(): Readable {
  return new Readable({
    read() {
      this.destroy(new Error("genuine"));
    },
  });
}

interface HangUp {
  readonly handler: (ctx: Context) => unknown;
  /** When the client leaves: while the handler works, while outer middleware does after it, or once it has a piece. */
  readonly during: "handler" | "outer" | "answer";
  readonly by?: "destroy" | "resetAndDestroy";
  /** What stands around the handler. Defaults to the layer. */
  readonly layer?: (service: Service) => ReturnType<Service["layer"]>;
}

/** Serves a client that leaves, and lets everything go on afterwards. */
async function hangUp(KoaClass: KoaClass, { handler, during, by = "destroy", layer }: HangUp) {
  let runs = 0;
  let isGone = false;
  const working = gate();
  const around = gate();
  const reached = gate();
  const service = await serve(KoaClass, (given) => {
    const { app } = given;
    app.use(async (_ctx, next) => {
      try {
        await next();
      } finally {
        if (runs === 1 && during === "outer") reached.open();
        if (runs === 1 && during === "outer") await around.opened;
      }
    });
    app.use(layer?.(given) ?? given.layer());
    app.use(async (ctx) => {
      runs += 1;
      if (runs > 1) {
        ctx.body = "second run";
        return;
      }
      ctx.res.once("close", () => {
        isGone = true;
      });
      if (during === "handler") {
        reached.open();
        await working.opened;
      }
      await handler(ctx);
    });
  });
  const socket = open(service.port);
  if (during === "answer") socket.once("data", reached.open);
  await reached.opened;
  socket[by]();
  await eventually(() => isGone).toBe(true);
  // A task later, so that Koa has heard of it too.
  await new Promise(setImmediate);
  working.open();
  around.open();
  return { service, runs: () => runs };
}

async function retryAfter(KoaClass: KoaClass, leaving: HangUp) {
  const { service, runs } = await hangUp(KoaClass, leaving);
  await eventually(() => typesOf(service).length).toBeGreaterThan(1);
  const retry = await service.client.send({ key: "k" });
  return { retry, types: typesOf(service).slice(0, 2), runs: runs(), errors: service.errors };
}

function bodied(body: () => unknown): (ctx: Context) => void {
  return (ctx) => {
    ctx.body = body();
  };
}

const WHOLE: readonly (readonly [string, () => unknown, string])[] = [
  ["an object", () => ({ whole: true }), '{"whole":true}'],
  ["a text", () => "whole", "whole"],
  ["a large text", () => LARGE, LARGE],
  ["a buffer", () => Buffer.from("whole"), "whole"],
  ["0", () => 0, "0"],
  ["null", () => null, ""],
];

const STREAMS: readonly (readonly [string, () => unknown])[] = [
  ["a stream without end", endless],
  ["a stream without a piece", () => new Readable({ read() {} })],
  ["a file", () => createReadStream(import.meta.filename)],
];

const STREAMS_OF_3: typeof STREAMS = [
  ["a blob", () => new Blob(["whole"])],
  ["a web stream", () => new Blob(["whole"]).stream()],
  ["a response", () => new Response("whole")],
];

describe.each(KOAS)("a client that hangs up on %s", (name, KoaClass) => {
  const is3 = name === "Koa 3";
  const streams = is3 ? [...STREAMS, ...STREAMS_OF_3] : STREAMS;

  describe.each(["handler", "outer"] as const)("while the %s is at work", (during) => {
    it.each(WHOLE)("leaves the whole answer to its retry, though Koa answers nobody: %s", async (_what, body, text) => {
      const { retry, runs, errors } = await retryAfter(KoaClass, { handler: bodied(body), during });
      expect([retry.text, retry.headers["idempotent-replayed"], runs]).toEqual([text, "true", 1]);
      expect(errors).toEqual([]);
    });

    it.each(streams)("promptly leaves a tombstone of what Koa doesn't take: %s", async (_what, body) => {
      const { retry, runs, errors } = await retryAfter(KoaClass, { handler: bodied(body), during });
      expect([retry.status, problem(retry)["code"], runs]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
      // As without the layer: nobody has been told that there was nobody to send it to.
      expect(errors).toEqual([]);
    });
  });

  it("in the middle of the answer promptly leaves a tombstone", async () => {
    const { retry, runs } = await retryAfter(KoaClass, { handler: bodied(endless), during: "answer" });
    expect([retry.status, problem(retry)["code"], runs]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });

  it("with a reset, which Koa reports as an error, leaves the answer to its retry", async () => {
    const { retry, runs, errors } = await retryAfter(KoaClass, {
      handler: bodied(() => "whole"),
      during: "handler",
      by: "resetAndDestroy",
    });
    expect([retry.text, retry.headers["idempotent-replayed"], runs]).toEqual(["whole", "true", 1]);
    expect(errors).toEqual([expect.objectContaining({ code: "ECONNRESET", headerSent: true })]);
  });

  it.each<[string, HangUp["handler"]]>([
    ["thrown", () => Promise.reject(new Error("genuine"))],
    ["of ctx.throw()", (ctx) => ctx.throw(500, "genuine")],
    [
      "of JSON",
      (ctx) => {
        ctx.body = { big: 1n };
      },
    ],
  ])("frees the key of a handler with an error of its own: %s", async (_what, handler) => {
    const { retry, types, runs, errors } = await retryAfter(KoaClass, { handler, during: "handler" });
    expect([retry.text, types, runs]).toEqual(["second run", ["claimed", "released"], 2]);
    expect(errors).toHaveLength(1);
  });

  it("leaves a tombstone of what the handler pipes itself", async () => {
    const handler = async (ctx: Context) => {
      ctx.respond = false;
      ctx.res.statusCode = 200;
      await pipeline(endless(), ctx.res);
    };
    const { retry, runs } = await retryAfter(KoaClass, { handler, during: "handler" });
    expect([retry.status, problem(retry)["code"], runs]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });

  it("leaves what the handler writes by itself, after it has returned, to its retry", async () => {
    const handler = (ctx: Context) => {
      ctx.respond = false;
      setImmediate(() => {
        ctx.res.statusCode = 200;
        ctx.res.write("who");
        ctx.res.end("le");
      });
    };
    const { retry, runs } = await retryAfter(KoaClass, { handler, during: "handler" });
    expect([retry.text, retry.headers["idempotent-replayed"], runs]).toEqual(["whole", "true", 1]);
  });

  it("leaves a tombstone of what the handler wrote to the socket by itself", async () => {
    const handler = (ctx: Context) => {
      ctx.respond = false;
      ctx.req.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    };
    const { retry, runs } = await retryAfter(KoaClass, {
      handler,
      during: "answer",
      layer: ({ layer }) => layer({ abandonAfterMs: 50 }),
    });
    expect([retry.status, problem(retry)["code"], runs]).toEqual([409, "RESULT_NOT_REPLAYABLE", 1]);
  });
});

describe("a stream that fails by itself", () => {
  it("before its first piece frees the key: Koa 2 answers 500, Koa 3 closes the connection", async () => {
    for (const [name, KoaClass] of KOAS) {
      let runs = 0;
      const service = await serve(KoaClass, ({ app, layer }) => {
        app.use(layer());
        app.use((ctx) => {
          runs += 1;
          ctx.body = runs === 1 ? failing() : "second run";
        });
      });
      const first = await service.client.send({ key: "k" }).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(first).toBe(name === "Koa 2" ? 500 : "ECONNRESET");
      await eventually(() => typesOf(service)).toEqual(["claimed", "released"]);
      expect((await service.client.send({ key: "k" })).text).toBe("second run");
      expect(service.errors[0]).toMatchObject({ message: "genuine" });
    }
  });

  it("in the middle of the answer leaves a tombstone, where Koa 3 closes the connection", async () => {
    const [[, Koa3]] = KOAS;
    const service = await serve(Koa3, ({ app, layer }) => {
      app.use(layer());
      app.use((ctx) => {
        let pieces = 0;
        ctx.body = new Readable({
          read() {
            pieces += 1;
            if (pieces === 1) this.push("piece");
            else setImmediate(() => this.destroy(new Error("genuine")));
          },
        });
      });
    });
    await expect(service.client.send({ key: "k" })).rejects.toMatchObject({ code: "ECONNRESET" });
    await eventually(() => typesOf(service)).toEqual(["claimed", "tombstoned", "completed"]);
    expect(problem(await service.client.send({ key: "k" }))["code"]).toBe("RESULT_NOT_REPLAYABLE");
  });
});
