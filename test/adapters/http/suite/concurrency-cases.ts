import { expect, it } from "vitest";
import { systemClock } from "../../../../src/clock.ts";
import { type Answer, problemCode } from "../http-client.ts";
import { expectProblem } from "./expect-problem.ts";
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
      const { title } = expectProblem(answer, 409, "IN_PROGRESS", true);
      expect(title).toBe("A request is outstanding for this Idempotency-Key");
      const seconds = Number(answer.headers["retry-after"]);
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(30);
    }
  });

  it("gives 20 concurrent duplicates the same answer when they wait", async () => {
    let runs = 0;
    const { client, events } = await serve({
      routes: [
        {
          path: "/",
          layer: { inFlight: "wait" },
          handler: async () => {
            runs += 1;
            await systemClock.sleep(50);
            return { status: 202, headers: { "X-Own": "1" }, json: { runs } };
          },
        },
      ],
    });
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.send({ key: "k" })));
    expect(runs).toBe(1);
    expect(new Set(answers.map(({ status, text, headers }) => `${status} ${text} ${headers["x-own"]}`))).toEqual(
      new Set(['202 {"runs":1} 1']),
    );
    expect(answers.filter(({ headers }) => headers["idempotent-replayed"] === "true")).toHaveLength(19);
    expect(events.filter(({ type }) => type === "replayed")).toHaveLength(19);
  });

  it("stops waiting after maxWaitMs, with 409 and Retry-After", async () => {
    const working = gate();
    const { client } = await serve({
      options: { inFlight: "wait", maxWaitMs: 50 },
      routes: [
        {
          path: "/",
          handler: async () => {
            await working.opened;
            return { json: 1 };
          },
        },
      ],
    });
    const first = client.send({ key: "k" });
    await expect.poll(async () => problemCode(await client.send({ key: "k" }))).toBe("WAIT_TIMEOUT");
    expectProblem(await client.send({ key: "k" }), 409, "WAIT_TIMEOUT", true);
    working.open();
    expect((await first).status).toBe(200);
  });

  it("lets no more wait than it is told to: 503 with Retry-After for the others", async () => {
    const working = gate();
    const { client, storeCalls } = await serve({
      options: { inFlight: "wait", maxWaiters: 3 },
      routes: [
        {
          path: "/",
          handler: async () => {
            await working.opened;
            return { json: 1 };
          },
        },
      ],
    });
    let refused = 0;
    const answers = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const answer = await client.send({ key: "k" });
        if (answer.status === 503) refused += 1;
        if (refused === 6) working.open();
        return answer;
      }),
    );
    for (const answer of answers.filter(({ status }) => status === 503)) {
      expectProblem(answer, 503, "TOO_MANY_WAITERS", true);
    }
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    expect(storeCalls["claim"]).toBe(10);
  });

  it("has the next one of those who wait run when the first gives up, and only it", async () => {
    let runs = 0;
    const { client } = await serve({
      options: { inFlight: "wait" },
      routes: [
        {
          path: "/",
          handler: async () => {
            runs += 1;
            const status = runs === 1 ? 500 : 200;
            await systemClock.sleep(30);
            return { status, json: runs };
          },
        },
      ],
    });
    const answers = await Promise.all(Array.from({ length: 10 }, () => client.send({ key: "k" })));
    expect(runs).toBe(2);
    expect(answers.map(({ status, text }) => `${status} ${text}`).sort()).toEqual([
      ...Array.from({ length: 9 }, () => "200 2"),
      "500 1",
    ]);
  });

  it("replays 1,000 retries that are sent on the tick at which the first answer arrives", async () => {
    const ROUNDS = 1_000;
    let runs = 0;
    const { client } = await serve({ routes: [{ path: "/", handler: () => ({ json: ++runs }) }] });
    const round = (key: string): Promise<{ first: string; retry: Answer }> =>
      new Promise((resolve, reject) => {
        const sent = client.open({ key, headers: { "Content-Length": "0" } }, (first) => {
          client
            .send({ key })
            .then((retry) => resolve({ first: first.text, retry }))
            .catch(reject);
        });
        sent.on("error", reject);
        sent.end();
      });
    const firsts: number[] = [];
    let begun = 0;
    // Several at a time, so that one waits for the engine while others are answered.
    const lane = async (): Promise<void> => {
      while (begun < ROUNDS) {
        begun += 1;
        const { first, retry } = await round(`k${begun}`);
        expect([retry.text, retry.headers["idempotent-replayed"]]).toEqual([first, "true"]);
        firsts.push(Number(first));
      }
    };
    await Promise.all(Array.from({ length: 10 }, lane));
    expect(firsts.sort((a, b) => a - b)).toEqual(Array.from({ length: ROUNDS }, (_, index) => index + 1));
    expect(runs).toBe(ROUNDS);
  });
}
