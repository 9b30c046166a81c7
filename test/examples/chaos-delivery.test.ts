import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, type TestContext } from "vitest";
import { Delivery } from "../../examples/control-plane/chaos/delivery.ts";
import { diceOf } from "../../examples/control-plane/chaos/dice.ts";
import type { RequestFacts } from "../../examples/control-plane/chaos/facts.ts";

/** A copy that puts off each key so often before it answers. */
async function copyThatPutsOff(times: number, { onTestFinished }: TestContext): Promise<string> {
  const left = new Map<string, number>();
  const server = createServer((request, response) => {
    const key = String(request.headers["idempotency-key"]);
    const before = left.get(key) ?? times;
    left.set(key, before - 1);
    response.writeHead(before > 0 ? 503 : 200).end("{}");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Of 20 letters, which are sent one after the other: which had their replies dropped, and what was done to all. */
async function deliver(seed: number, url: string) {
  const over = new AbortController();
  const dropped: string[] = [];
  const delivery = new Delivery({
    copies: () => [{ name: "copy-1", url }],
    signal: over.signal,
    onDone: (request: RequestFacts) => void (request.dropped > 0 && dropped.push(request.key)),
  });
  const dice = diceOf(seed);
  for (let n = 0; n < 20; n += 1)
    await delivery.deliver({ key: `key-${n}`, method: "DELETE", path: "/" }, { wanted: [200], dice: dice.fork() });
  // Nobody waits for what would be sent again later.
  over.abort();
  await delivery.settle();
  return { dropped: dropped.sort(), counts: delivery.counts };
}

it("does the same to a request of the same seed, however often others have to be sent", async (context) => {
  const [ready, busy] = [await copyThatPutsOff(0, context), await copyThatPutsOff(1, context)];
  const found = await deliver(7, ready);
  expect(await deliver(7, busy)).toEqual(found);
  for (const count of Object.values(found.counts)) expect(count).toBeGreaterThan(0);
  expect(await deliver(8, ready)).not.toEqual(found);
});
