import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "vitest";
import { describeReconcilerKills } from "./reconciler-kills.ts";

describe("reconcilers on one SQLite file", () => {
  const fileOf = (place: string): string => join(place, "ledger.db");
  describeReconcilerKills({
    create: async (place) => `sqlite:${fileOf(place)}`,
    copy({ url }, place) {
      copyFileSync(url.slice("sqlite:".length), fileOf(place));
      return `sqlite:${fileOf(place)}`;
    },
    leaseMs: 600,
    points: (awaits) => Array.from({ length: awaits }, (_, at) => at + 1),
  });
});
