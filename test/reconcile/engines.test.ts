import { randomUUID } from "node:crypto";
import { memoryStore } from "evenkeel/memory";
import { ManualClock } from "evenkeel/testing";
import { describe } from "vitest";
import { describePostgres, describeRedis, redisUrl } from "../support/engines.ts";
import { openLedger } from "../support/open-ledger.ts";
import { frozenLedger, newPrefix, useDatabase } from "../support/postgres-ledgers.ts";
import { ioredisSubject, nodeRedisSubject } from "../support/redis-subject.ts";
import { openDatabase, temporaryFolder } from "../support/sqlite-files.ts";
import { sqliteSubject } from "../support/sqlite-subject.ts";
import { describeChallenges } from "./engines-challenges.ts";

const twice = (url: string) => Promise.all([openLedger(url), openLedger(url)] as const);

describe("in memory", () => {
  describeChallenges(
    async () => {
      const clock = new ManualClock();
      const store = memoryStore({ clock });
      return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
    },
    async () => {
      const store = memoryStore();
      return [
        { store, close: () => store.close() },
        { store, close: async () => {} },
      ];
    },
  );
});

describe("on SQLite", () => {
  describeChallenges(
    () => sqliteSubject(openDatabase),
    async () => {
      const folder = temporaryFolder();
      const [first, second] = await twice(`sqlite:${folder.file("ledger.db")}`);
      const close = async (): Promise<void> => {
        await second.close();
        folder.remove();
      };
      return [first, { store: second.store, close }];
    },
  );
});

describeRedis("on Redis", () => {
  describe("by node-redis", () => {
    describeChallenges(nodeRedisSubject, () => twice(`${redisUrl()}#${randomUUID()}:`));
  });
  describe("by ioredis", () => {
    describeChallenges(ioredisSubject, () => twice(`${redisUrl()}#${randomUUID()}:`));
  });
});

describePostgres("on PostgreSQL", () => {
  const database = useDatabase();
  describeChallenges(
    async () => frozenLedger(await database.pool()),
    async () => twice(`${await database.url()}#${newPrefix()}`),
  );
});
