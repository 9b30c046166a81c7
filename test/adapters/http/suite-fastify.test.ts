import { describePostgres, describeRedis } from "../../support/engines.ts";
import { fastifyShim } from "./suite/fastify-shim.ts";
import { httpSuite } from "./suite/http-suite.ts";
import { inMemory, inPostgres, inRedis, inSqlite } from "./suite/ledgers.ts";

httpSuite(fastifyShim, inMemory);
httpSuite(fastifyShim, inSqlite);
describeRedis("Redis", () => httpSuite(fastifyShim, inRedis, "core"));
describePostgres("PostgreSQL", () => httpSuite(fastifyShim, inPostgres, "core"));
