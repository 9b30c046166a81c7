import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const EXAMPLE = fileURLToPath(new URL("../../examples/fastify-orders", import.meta.url));

describe("examples/fastify-orders", () => {
  let folder = "";
  let server: ChildProcess;
  let url = "";
  let curl = "";

  async function start(): Promise<void> {
    const env = { ...process.env, PORT: "0", DATABASE: join(folder, "orders.db") };
    server = spawn(process.execPath, ["--import", "tsx", "server.ts"], {
      cwd: EXAMPLE,
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: server.stdout as NodeJS.ReadableStream })) {
      url = /listening on (http:\/\/[\d.:]+)/.exec(line)?.[1] ?? url;
      curl = /^ +(curl -i .*)$/.exec(line)?.[1] ?? "";
      if (curl !== "") return;
    }
    throw new Error("It ended before it listened.");
  }

  async function stop(signal: "SIGTERM" | "SIGKILL"): Promise<unknown> {
    const ended = once(server, "exit");
    server.kill(signal);
    return (await ended)[0];
  }

  const order = (key: string | undefined, body: string, token = "alice", path = "/orders"): Promise<Response> => {
    const headers = { Authorization: `Bearer ${token}-token`, "Content-Type": "application/json" };
    const keyed = key === undefined ? headers : { ...headers, "Idempotency-Key": key };
    return fetch(`${url}${path}`, { method: "POST", headers: keyed, body });
  };
  const parcels = async (token: string): Promise<unknown[]> => {
    const answer = await fetch(`${url}/parcels`, { headers: { Authorization: `Bearer ${token}-token` } });
    return (await answer.json()) as unknown[];
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "evenkeel-fastify-"));
    await start();
  });
  afterAll(async () => {
    await stop("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  it("prints a line that does what it says when it is sent twice", async () => {
    const send = async () => (await promisify(execFile)("sh", ["-c", `${curl} --silent`])).stdout;
    const [first, again] = [await send(), await send()];
    for (const answer of [first, again]) expect(answer).toMatch(/^HTTP\/1\.1 201 /);
    expect([/^idempotent-replayed: true/im.test(first), /^idempotent-replayed: true/im.test(again)]).toEqual([
      false,
      true,
    ]);
    expect(await parcels("alice")).toHaveLength(1);
  });

  it("sends one parcel for an order that is sent many times at once", async () => {
    const before = (await parcels("alice")).length;
    const body = '{"item":"desk","quantity":2}';
    const answers = await Promise.all(Array.from({ length: 10 }, () => order("o1", body)));
    for (const { status } of answers) expect([201, 409]).toContain(status);
    const again = await order("o1", '{ "quantity": 2, "item": "desk" }');
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    const parcel = await again.json();
    expect(parcel).toMatchObject({ account: "alice", item: "desk", quantity: 2 });
    expect(again.headers.get("location")).toBe(`/parcels/${(parcel as { id: string }).id}`);
    expect(await parcels("alice")).toHaveLength(before + 1);
  });

  it("refuses what doesn't fit, and takes a corrected order under the same key", async () => {
    expect((await order("o2", '{"item":""}')).status).toBe(400);
    expect((await order("o2", '{"item":"cup"}')).status).toBe(201);
    expect((await order("o2", '{"item":"plate"}')).status).toBe(422);
    expect((await order("o2", '{"item":"plate","item":"cup"}')).status).toBe(422);
    const unkeyed = await order(undefined, '{"item":"cup"}');
    expect([unkeyed.status, await unkeyed.json()]).toEqual([400, expect.objectContaining({ code: "KEY_MISSING" })]);
  });

  it("knows whose key it is, and asks first who it is", async () => {
    const body = '{"item":"desk","quantity":2}';
    expect((await order("o1", body, "nobody")).status).toBe(401);
    const bobs = await order("o1", body, "bob");
    expect([bobs.status, bobs.headers.get("idempotent-replayed")]).toEqual([201, null]);
    expect(await parcels("bob")).toHaveLength(1);
  });

  it("has a route that takes no notice of keys", async () => {
    const search = (item: string) => order("s1", JSON.stringify({ item }), "alice", "/parcels/search");
    for (const item of ["desk", "cup"]) {
      const found = await search(item);
      expect([found.status, found.headers.get("idempotent-replayed")]).toEqual([200, null]);
      expect(await found.json()).toEqual([expect.objectContaining({ item })]);
    }
  });

  it("remembers the answers of an earlier start, and ends when it is told to", async () => {
    expect(await stop("SIGTERM")).toBe(0);
    await start();
    const again = await order("o2", '{"item":"cup"}');
    expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([201, "true"]);
    expect(await parcels("alice")).toEqual([]);
  });
});
