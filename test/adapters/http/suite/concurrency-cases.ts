import { expect, it } from "vitest";
import { problem } from "../http-client.ts";
import { gate } from "./gate.ts";
import type { Suite } from "./http-suite.ts";

/** Rules 5 and 6: many callers of one key, and the tick at which the answer arrives. */
export function concurrencyCases({ serve }: Suite): void {
  it("answers 20 concurrent duplicates with one run and 19 times 409", async () => {
    let runs = 0;
    const working = gate();
    const { client } = await serve({
      routes: [
        {
          path: "/",
          handler: async () => {
            runs += 1;
            await working.opened;
            return { json: { runs } };
          },
        },
      ],
    });
    let refused = 0;
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const answer = await client.send({ key: "k" });
        if (answer.status === 409) refused += 1;
        if (refused === 19) working.open();
        return answer;
      }),
    );
    expect(runs).toBe(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status === 409)) {
      expect(answer.headers["content-type"]).toBe("application/problem+json");
      const seconds = Number(answer.headers["retry-after"]);
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(30);
      expect(problem(answer)).toMatchObject({
        type: "urn:evenkeel:problem:in-progress",
        title: "A request is outstanding for this Idempotency-Key",
        status: 409,
        code: "IN_PROGRESS",
        retryable: true,
      });
    }
  });
}
