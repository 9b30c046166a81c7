import { expect, it } from "vitest";
import type { Suite } from "./http-suite.ts";

/** What a handler can do with its execution. */
export function contextCases({ serve }: Suite): void {
  it("gives the handler the execution's context, and none to a request that passes through", async () => {
    const { client } = await serve({
      routes: [
        {
          path: "/",
          layer: { operation: "pay", scope: () => "tenant" },
          handler: async ({ execution }) => ({
            json: execution && {
              operation: execution.operation,
              scope: execution.scope,
              key: execution.key,
              attempt: execution.attempt,
              token: execution.fencingToken > 0,
              aborted: execution.signal.aborted,
              step: await execution.step("one", () => new Map([["a", 1n]])).then((step) => [...step.keys()]),
              derived: execution.deriveKey("charge"),
            },
          }),
        },
      ],
    });
    const { derived, ...rest } = JSON.parse((await client.send({ key: "k" })).text);
    expect(derived).toMatch(/^[0-9a-f]{64}$/);
    expect(rest).toEqual({
      operation: "pay",
      scope: "tenant",
      key: "k",
      attempt: 1,
      token: true,
      aborted: false,
      step: ["a"],
    });
    const passed = await client.send({});
    expect(["", "null"]).toContain(passed.text);
  });

  it("replays what ctx.complete() said, to the first client too", async () => {
    const { client } = await serve({
      routes: [200, 500].map((status) => ({
        path: `/${status}`,
        handler: async ({ execution }) => {
          await execution?.complete({ status: 201, headers: { Location: "/1" }, body: { id: 1 } });
          return { status, json: { id: 2 } };
        },
      })),
    });
    for (const mark of [undefined, "true"]) {
      const answer = await client.send({ path: "/200", key: "k" });
      expect([answer.status, answer.headers.location, answer.text]).toEqual([201, "/1", '{"id":1}']);
      expect(answer.headers["idempotent-replayed"]).toBe(mark);
    }
    // What is not kept reaches its own client; the outcome stands.
    expect((await client.send({ path: "/500", key: "k" })).status).toBe(500);
    expect((await client.send({ path: "/500", key: "k" })).text).toBe('{"id":1}');
  });

  it("refuses to complete with what is no response, and the handler is told", async () => {
    const { client, errors } = await serve({
      routes: [
        {
          path: "/",
          handler: async ({ execution }) => {
            await execution?.complete({ status: 99 });
            return { json: 1 };
          },
        },
      ],
    });
    expect((await client.send({ key: "k" })).status).toBe(500);
    expect(errors).toEqual([expect.any(TypeError)]);
  });
}
