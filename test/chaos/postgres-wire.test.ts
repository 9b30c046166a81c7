import { databaseUrl, describePostgres } from "../support/engines.ts";
import { describeWireFaults } from "./wire-faults.ts";

describePostgres("the wire to a PostgreSQL", () => {
  const completion = (request: Buffer): boolean => request.includes("evenkeel_complete");
  describeWireFaults(databaseUrl, { completion });
});
