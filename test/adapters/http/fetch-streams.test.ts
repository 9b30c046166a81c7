import { describe, expect, it } from "vitest";
import { eventually } from "./eventually.ts";
import { codeOf, handlers, piece, request, seen } from "./fetch-service.ts";
import { gate } from "./suite/gate.ts";

/** A body whose pieces the test gives out. */
function source() {
  let controller!: ReadableStreamDefaultController<unknown>;
  const cancelled: unknown[] = [];
  const body = new ReadableStream<unknown>({
    start(given) {
      controller = given;
    },
    cancel(reason) {
      cancelled.push(reason);
    },
  });
  return {
    body: body as ReadableStream<Uint8Array>,
    cancelled,
    give: (text: string) => controller.enqueue(piece(text)),
    giveAny: (value: unknown) => controller.enqueue(value),
    end: () => controller.close(),
    fail: (reason: unknown) => controller.error(reason),
  };
}

/** Reads pieces one by one. */
function reader({ body }: Response) {
  const reading = (body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  return {
    async next(): Promise<string | undefined> {
      const { done, value } = await reading.read();
      return done ? undefined : decoder.decode(value);
    },
    cancel: (reason: unknown) => reading.cancel(reason),
  };
}

describe("a body whose pieces come later", () => {
  it("goes out as they come, and its end once it is durable", async () => {
    const { wrap, holdCompletions, storeCalls } = handlers();
    const letGo = holdCompletions();
    const { body, give, end } = source();
    const handler = wrap(() => new Response(body, { status: 201, headers: { "X-Own": "1" } }));
    const answer = await handler(request());
    expect([answer.status, answer.headers.get("x-own")]).toEqual([201, "1"]);
    const { next } = reader(answer);
    for (const text of ["one ", "two"]) {
      give(text);
      expect(await next()).toBe(text);
    }
    end();
    let isOver = false;
    const over = next().then((last) => {
      isOver = true;
      return last;
    });
    await eventually(() => storeCalls["complete"]).toBe(1);
    await new Promise(setImmediate);
    expect(isOver).toBe(false);
    letGo();
    expect(await over).toBeUndefined();
    expect(await seen(await handler(request()))).toEqual([201, "one two", "true"]);
  });

  it("has its last piece held where the length was announced, since clients take it for the end", async () => {
    const { wrap, holdCompletions, storeCalls } = handlers();
    const letGo = holdCompletions();
    const { body, give, end } = source();
    const handler = wrap(() => new Response(body, { headers: { "Content-Length": "6" } }));
    const { next } = reader(await handler(request()));
    give("abc");
    expect(await next()).toBe("abc");
    give("def");
    end();
    let held: string | undefined;
    const last = next().then((text) => {
      held = text;
      return text;
    });
    await eventually(() => storeCalls["complete"]).toBe(1);
    await new Promise(setImmediate);
    expect(held).toBeUndefined();
    letGo();
    expect([await last, await next()]).toEqual(["def", undefined]);
    expect(await seen(await handler(request()))).toEqual([200, "abcdef", "true"]);
  });

  it("is not replayed where it was not as long as was announced", async () => {
    const { wrap } = handlers();
    const handler = wrap(() => new Response(piece("abc"), { headers: { "Content-Length": "4" } }));
    expect(await (await handler(request())).text()).toBe("abc");
    expect(await codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
  });

  it("is read as it is asked for, and no further", async () => {
    const { wrap } = handlers();
    let pulls = 0;
    const started = gate();
    const body = new ReadableStream(
      {
        async pull(controller) {
          pulls += 1;
          if (pulls === 1) await started.opened;
          controller.enqueue(piece(`${pulls} `));
        },
      },
      { highWaterMark: 0 },
    );
    const { next, cancel } = reader(await wrap(() => new Response(body))(request()));
    started.open();
    expect(await next()).toBe("1 ");
    await new Promise(setImmediate);
    expect(pulls).toBe(1);
    expect([await next(), await next()]).toEqual(["2 ", "3 "]);
    expect(pulls).toBe(3);
    await cancel("enough").catch(() => {});
  });

  it("is kept as it was read, whatever becomes of the memory of its pieces", async () => {
    const { wrap } = handlers();
    const memory = Buffer.alloc(3);
    const started = gate();
    async function* reusing() {
      for (const text of ["abc", "def"]) {
        memory.write(text);
        yield memory;
        await started.opened;
      }
    }
    const handler = wrap(() => new Response(ReadableStream.from(reusing())));
    const { next } = reader(await handler(request()));
    expect(await next()).toBe("abc");
    started.open();
    expect([await next(), await next()]).toEqual(["def", undefined]);
    expect(await seen(await handler(request()))).toEqual([200, "abcdef", "true"]);
  });

  it("may be of text; of anything else it is for the server to judge, and not kept", async () => {
    const { wrap } = handlers();
    const text = wrap(() => new Response(ReadableStream.from(["ü", "x"]) as never));
    expect(await seen(await text(request()))).toEqual([200, "üx", null]);
    expect(await seen(await text(request()))).toEqual([200, "üx", "true"]);
    const { body, giveAny } = source();
    giveAny({ no: "bytes" });
    const other = wrap(() => new Response(body));
    const answer = await other(request({ key: "other" }));
    expect((await answer.body?.getReader().read())?.value).toEqual({ no: "bytes" });
    await eventually(async () => codeOf(await other(request({ key: "other" })))).toBe("RESULT_NOT_REPLAYABLE");
  });
});

describe("a body that can't be kept", () => {
  it.each([
    ["over maxBodyBytes", {}, "x".repeat(11)],
    ["of server-sent events", { "Content-Type": "text/event-stream" }, "data: 1\n\n"],
  ])("passes through: one %s", async (_what, headers, text) => {
    const { wrap, events } = handlers();
    const { body, give, end, cancelled } = source();
    const handler = wrap(() => new Response(body, { headers }), { maxBodyBytes: 10 });
    const answering = handler(request());
    give(text);
    const { next, cancel } = reader(await answering);
    expect(await next()).toBe(text);
    await eventually(async () => codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
    give("more");
    expect(await next()).toBe("more");
    // Nobody is left to read it: the handler is told what it would be told without the layer.
    await cancel("left");
    expect(cancelled).toEqual(["left"]);
    expect(await codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
    await eventually(() => events.map(({ type }) => type)).toContain("completed");
    expect(end).toThrow();
  });

  it("frees the key where its status is not to be kept", async () => {
    const { wrap, events } = handlers();
    const handler = wrap(() => new Response("x".repeat(11), { status: 500 }), { maxBodyBytes: 10 });
    expect(await (await handler(request())).text()).toBe("x".repeat(11));
    await eventually(() => events.map(({ type }) => type)).toEqual(["claimed", "released"]);
  });

  it.each([
    ["before its first piece", []],
    ["in the middle", ["part"]],
  ])("fails for its reader as it failed, and settles the record: one that fails %s", async (_where, texts) => {
    const { wrap, holdCompletions, storeCalls } = handlers();
    const letGo = holdCompletions();
    const { body, give, fail } = source();
    const handler = wrap(() => new Response(body));
    const answering = handler(request());
    for (const text of texts) give(text);
    const { next } = reader(await answering);
    for (const text of texts) expect(await next()).toBe(text);
    const reason = new Error("disk on fire");
    fail(reason);
    const failing = next().catch((error: unknown) => error);
    await eventually(() => storeCalls["complete"]).toBe(1);
    letGo();
    expect(await failing).toBe(reason);
    expect(await codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
  });

  it("that has failed before it was asked for is settled in the same way", async () => {
    const { wrap } = handlers();
    const reason = new Error("disk on fire");
    const body = new ReadableStream({ start: (controller) => controller.error(reason) });
    const answer = await wrap(() => new Response(body, { status: 201 }))(request());
    expect(answer.status).toBe(201);
    await expect(answer.text()).rejects.toBe(reason);
  });
});

describe("a reader that leaves", () => {
  it.each(["cancels", "aborts its request"])("has the rest read for its retry when it %s", async (how) => {
    const { wrap, events } = handlers();
    const { body, give, end, cancelled } = source();
    const handler = wrap(() => new Response(body));
    const leaving = new AbortController();
    const { next, cancel } = reader(await handler(request({ signal: leaving.signal })));
    give("one ");
    expect(await next()).toBe("one ");
    if (how === "cancels") await cancel("left");
    else leaving.abort();
    give("two ");
    give("three");
    end();
    await eventually(() => events.map(({ type }) => type)).toContain("completed");
    expect(cancelled).toEqual([]);
    expect(await seen(await handler(request()))).toEqual([200, "one two three", "true"]);
  });

  it("before there was a response has it read for its retry, whoever holds that response", async () => {
    const { wrap } = handlers();
    const { body, give, end } = source();
    const started = gate();
    const working = gate();
    const handler = wrap(async () => {
      started.open();
      await working.opened;
      return new Response(body);
    });
    const leaving = new AbortController();
    const answering = handler(request({ signal: leaving.signal }));
    await started.opened;
    leaving.abort();
    working.open();
    await answering;
    give("late");
    end();
    await eventually(async () => (await handler(request())).status).toBe(200);
    expect(await seen(await handler(request()))).toEqual([200, "late", "true"]);
  });

  it("is not given up by a reader that still reads: it gets all of it", async () => {
    const { wrap } = handlers();
    const { body, give, end } = source();
    const leaving = new AbortController();
    const { next } = reader(await wrap(() => new Response(body))(request({ signal: leaving.signal })));
    leaving.abort();
    give("one ");
    give("two");
    end();
    expect([await next(), await next(), await next()]).toEqual(["one ", "two", undefined]);
  });

  it("stops the handler's stream once the rest turns out to be too long", async () => {
    const { wrap } = handlers();
    const { body, give, cancelled } = source();
    const handler = wrap(() => new Response(body), { maxBodyBytes: 10 });
    const { cancel } = reader(await handler(request()));
    await cancel("left");
    give("x".repeat(11));
    await eventually(() => cancelled.length).toBe(1);
    await eventually(async () => codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
  });

  it("gives the rest up after abandonAfterMs", async () => {
    const { wrap } = handlers();
    const { body, cancelled } = source();
    const handler = wrap(() => new Response(body), { abandonAfterMs: 30 });
    const { cancel } = reader(await handler(request()));
    await cancel("left");
    await eventually(async () => codeOf(await handler(request()))).toBe("RESULT_NOT_REPLAYABLE");
    expect(cancelled).toEqual([expect.any(Error)]);
  });
});
