import { describe, expect, it } from "vitest";
import type { RedisArguments, RedisClient } from "../../../adapters/stores/redis-client.ts";
import { RedisConfirmations } from "../../../adapters/stores/redis-confirmations.ts";
import { ManualClock } from "../../../src/testing/index.ts";

const TOUCH = { text: "the text", sha: "the sha" };
const noScript = (): Error => new Error("NOSCRIPT No matching script.");

type Answer = PromiseSettledResult<unknown>[];

/** Confirmations that were asked for with 300 ms left, and what the driver was given for them. */
async function asked() {
  const clock = new ManualClock();
  const sent: { commands: readonly RedisArguments[]; resolve(answer: Answer): void; reject(error: Error): void }[] = [];
  const client: Pick<RedisClient, "isPool" | "nodeOf" | "sendTogether"> = {
    isPool: false,
    nodeOf: () => "",
    sendTogether: (_, commands) => new Promise((resolve, reject) => sent.push({ commands, resolve, reject })),
  };
  const wait = { replicas: 1, timeoutMs: 1_000 };
  const confirmations = new RedisConfirmations(client as RedisClient, clock, TOUCH as never, wait);
  const confirmed = confirmations.confirm({ key: "k", parameters: ["1", "k"] }, clock.monotonic() + 300);
  confirmed.catch(() => {});
  await settled();
  return { clock, sent, confirmations, confirmed };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe.each<{
  driver: string;
  refuse: (sent: { resolve(answer: Answer): void; reject(error: Error): void }) => void;
}>([
  { driver: "one that fails as a whole", refuse: ({ reject }) => reject(noScript()) },
  {
    driver: "one that tells of each command",
    refuse: ({ resolve }) =>
      resolve([
        { status: "rejected", reason: noScript() },
        { status: "fulfilled", value: 1 },
      ]),
  },
])("a confirmation that a server without the script answers, by $driver", ({ refuse }) => {
  it("is asked for with the script's text, for no longer than somebody waits", async () => {
    const { clock, sent, confirmed } = await asked();
    expect(sent.map(({ commands }) => commands.at(-1))).toEqual([["WAIT", "1", "300"]]);
    await clock.advance(100);
    refuse(sent[0] as (typeof sent)[0]);
    await settled();
    expect(sent[1]?.commands).toEqual([
      ["EVAL", TOUCH.text, "1", "k"],
      ["WAIT", "1", "200"],
    ]);
    sent[1]?.resolve(["7", 1].map((value) => ({ status: "fulfilled", value })));
    expect(await confirmed).toEqual({ found: "7", replicas: 1 });
  });

  // Drivers send again, to the new primary, what was under way when the connection to the old one was lost.
  it("is not asked for again once nobody waits, as after a failover", async () => {
    const { clock, sent, confirmations } = await asked();
    await clock.advance(300);
    refuse(sent[0] as (typeof sent)[0]);
    await settled();
    expect(sent).toHaveLength(1);
    const next = confirmations.confirm({ key: "k", parameters: ["1", "k"] }, clock.monotonic() + 300);
    await settled();
    expect(sent).toHaveLength(2);
    sent[1]?.resolve(["8", 1].map((value) => ({ status: "fulfilled", value })));
    expect(await next).toEqual({ found: "8", replicas: 1 });
  });
});
