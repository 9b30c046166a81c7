import { databaseUrl, describePostgres } from "../support/engines.ts";
import { describeManyCallers } from "./many-callers-remote.ts";

describePostgres("200 callers of each key in 4 processes on one PostgreSQL", () => {
  describeManyCallers(databaseUrl);
});
