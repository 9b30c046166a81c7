import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { emptiedLedgers } from "../../support/emptied-ledgers.ts";
import { describePostgres } from "../../support/engines.ts";
import { CAPABILITIES, useDatabase } from "../../support/postgres-ledgers.ts";

describePostgres("postgresStore on a Pool", () => {
  const { pool } = useDatabase();
  const ledger = emptiedLedgers();
  storeConformance({ describe, it }, async () => ledger(await pool()), CAPABILITIES);
});
