import { describePostgres, describeRedis } from "../../support/engines.ts";
import { fetchOnNodeShim, honoShim } from "./suite/fetch-shim.ts";
import { httpSuite } from "./suite/http-suite.ts";
import { inMemory, inPostgres, inRedis, inSqlite } from "./suite/ledgers.ts";

// First, since Hono's server puts a `Request` and `Response` of its own in the place of Node's.
httpSuite(fetchOnNodeShim, inMemory);
httpSuite(honoShim, inMemory);
httpSuite(honoShim, inSqlite);
describeRedis("Redis", () => httpSuite(honoShim, inRedis, "core"));
describePostgres("PostgreSQL", () => httpSuite(honoShim, inPostgres, "core"));
