import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { emptiedLedgers } from "../../support/emptied-ledgers.ts";
import { CAPABILITIES, usePGlite } from "../../support/postgres-ledgers.ts";

describe("postgresStore on PGlite", () => {
  const database = usePGlite();
  const capabilities = { ...CAPABILITIES, watch: true, hooks: ["transact", "stall"] } as const;
  const ledger = emptiedLedgers();
  storeConformance({ describe, it }, async () => ledger(await database()), capabilities);
});
