import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { describePostgres } from "../../support/engines.ts";
import { CAPABILITIES, frozenLedger, useDatabase } from "../../support/postgres-ledgers.ts";

describePostgres("postgresStore on a Pool", () => {
  const { pool } = useDatabase();
  storeConformance({ describe, it }, async () => frozenLedger(await pool()), CAPABILITIES);
});
