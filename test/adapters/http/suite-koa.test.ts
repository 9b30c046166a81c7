import { describePostgres, describeRedis } from "../../support/engines.ts";
import { httpSuite } from "./suite/http-suite.ts";
import { koa2Shim, koa3Shim } from "./suite/koa-shim.ts";
import { inMemory, inPostgres, inRedis, inSqlite } from "./suite/ledgers.ts";

httpSuite(koa3Shim, inMemory);
httpSuite(koa3Shim, inSqlite);
httpSuite(koa2Shim, inMemory);
describeRedis("Redis", () => httpSuite(koa3Shim, inRedis, "core"));
describePostgres("PostgreSQL", () => httpSuite(koa3Shim, inPostgres, "core"));
