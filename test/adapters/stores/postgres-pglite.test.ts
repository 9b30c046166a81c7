import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { CAPABILITIES, frozenLedger, usePGlite } from "../../support/postgres-ledgers.ts";

describe("postgresStore on PGlite", () => {
  const database = usePGlite();
  const capabilities = { ...CAPABILITIES, watch: true, hooks: ["transact", "stall"] } as const;
  storeConformance({ describe, it }, async () => frozenLedger(await database()), capabilities);
});
