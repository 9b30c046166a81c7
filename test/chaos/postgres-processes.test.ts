import { databaseUrl, describePostgres } from "../support/engines.ts";
import { describeDeliveryFaults } from "./delivery-faults.ts";
import { describeProcessFaults } from "./process-faults.ts";

describePostgres("processes on one PostgreSQL", () => {
  describeProcessFaults(databaseUrl);
});

describePostgres("messages to a PostgreSQL", () => {
  describeDeliveryFaults(databaseUrl);
});
