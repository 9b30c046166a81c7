import { describePostgres, describeRedis } from "../../support/engines.ts";
import { express4Shim, express5Shim } from "./suite/express-shim.ts";
import { httpSuite } from "./suite/http-suite.ts";
import { inMemory, inPostgres, inRedis, inSqlite } from "./suite/ledgers.ts";

httpSuite(express5Shim, inMemory);
httpSuite(express5Shim, inSqlite);
httpSuite(express4Shim, inMemory);
describeRedis("Redis", () => httpSuite(express5Shim, inRedis, "core"));
describePostgres("PostgreSQL", () => httpSuite(express5Shim, inPostgres, "core"));
