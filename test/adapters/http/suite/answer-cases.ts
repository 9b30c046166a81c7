import { expect, it } from "vitest";
import { endToEnd } from "../http-client.ts";
import type { Suite } from "./http-suite.ts";

/** Rule 8: a replay is the first answer again, and the first answer is the one that would be given without the layer. */
export function answerCases({ shim, serve }: Suite): void {
  it.each(shim.answers)("replays as it was: %s", async (_what, native) => {
    const { client, storeCalls } = await serve({
      routes: [
        { path: "/plain", layer: false, handler: { native } },
        { path: "/", handler: { native } },
      ],
    });
    const plain = await client.send({ path: "/plain", key: "k" });
    const first = await client.send({ key: "k" });
    const second = await client.send({ key: "k" });
    expect(storeCalls).toEqual({ claim: 2, complete: 1 });
    for (const answer of [first, second]) {
      expect(answer.status).toBe(plain.status);
      expect(answer.body).toEqual(plain.body);
      expect(endToEnd(answer)).toEqual(endToEnd(plain));
    }
    expect(first.headers["idempotent-replayed"]).toBeUndefined();
    expect(second.headers["idempotent-replayed"]).toBe("true");
  });
}
