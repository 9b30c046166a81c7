import type { FastifyInstance } from "fastify";
import type { Telemetry } from "../telemetry.ts";

/** `GET /metrics`: for Prometheus. */
export function metricsRoutes(app: FastifyInstance, telemetry: Telemetry): void {
  app.get("/metrics", async (_request, reply) => {
    return reply.type("text/plain; version=0.0.4; charset=utf-8").send(await telemetry.collect());
  });
}
