import { expect, it } from "vitest";
import { endToEnd } from "../http-client.ts";
import type { Suite } from "./http-suite.ts";
import { NO_LUCK } from "./samples.ts";

/** Rule 7: what a handler throws is the framework's business, and frees the key. */
export function errorCases({ shim, serve }: Suite): void {
  it.each(shim.failures)(
    "leaves the framework's own answer as it is when the handler %s, and frees the key",
    async (_how, native) => {
      const { client, events, errors } = await serve({
        routes: [
          { path: "/plain", layer: false, handler: { native } },
          { path: "/", handler: { native } },
        ],
      });
      const plain = await client.send({ path: "/plain", key: "k" });
      const seen = errors.splice(0).map(String);
      for (let run = 1; run <= 2; run += 1) {
        const answer = await client.send({ key: "k" });
        expect([answer.status, answer.text]).toEqual([plain.status, plain.text]);
        expect(endToEnd(answer)).toEqual(endToEnd(plain));
        expect(answer.headers["idempotent-replayed"]).toBeUndefined();
        expect(errors.splice(0).map(String)).toEqual(seen);
      }
      expect(events.map(({ type }) => type)).toEqual(["claimed", "released", "claimed", "released"]);
    },
  );

  it("gives the framework the very error that was thrown, and runs again for the retry", async () => {
    let runs = 0;
    const thrown = NO_LUCK();
    const { client, errors } = await serve({
      routes: [
        {
          path: "/",
          handler: () => {
            runs += 1;
            if (runs === 1) throw thrown;
            return { json: runs };
          },
        },
      ],
    });
    expect((await client.send({ key: "k" })).status).toBe(500);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toBe(thrown);
    expect((await client.send({ key: "k" })).text).toBe("2");
    expect((await client.send({ key: "k" })).text).toBe("2");
    expect(runs).toBe(2);
  });

  it("takes another payload once the key is free again", async () => {
    let runs = 0;
    const { client } = await serve({
      routes: [{ path: "/", handler: () => ({ status: ++runs === 1 ? 500 : 201, json: runs }) }],
    });
    expect((await client.send({ key: "k", body: { a: 1 } })).status).toBe(500);
    expect((await client.send({ key: "k", body: { a: 2 } })).status).toBe(201);
    expect((await client.send({ key: "k", body: { a: 1 } })).status).toBe(422);
  });

  // Elsewhere the error leaves the layer before anybody has made an answer of it.
  if (!shim.traits.keepsErrorAnswers) return;
  it("keeps the framework's answer to an error where everything is kept", async () => {
    let runs = 0;
    const handler = () => {
      runs += 1;
      throw NO_LUCK();
    };
    const { client } = await serve({ routes: [{ path: "/", layer: { record: "all" }, handler }] });
    const first = await client.send({ key: "k" });
    const second = await client.send({ key: "k" });
    expect([second.status, second.text, runs]).toEqual([500, first.text, 1]);
    expect(second.headers["idempotent-replayed"]).toBe("true");
  });
}
