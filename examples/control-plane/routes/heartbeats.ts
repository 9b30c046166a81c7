import type { FastifyInstance } from "fastify";
import type { Copies } from "../copies.ts";
import type { Groups } from "../groups.ts";
import { NAME_SCHEMA } from "./names.ts";

interface Beat {
  readonly group?: string;
  readonly incarnation?: number;
}

const SCHEMA = {
  params: { type: "object", properties: { id: NAME_SCHEMA } },
  body: {
    type: "object",
    nullable: true,
    additionalProperties: false,
    properties: { group: NAME_SCHEMA, incarnation: { type: "integer", minimum: 1 } },
  },
};

/** `POST /resources/:id/heartbeat`: a worker lives. Twice is the same, so that it needs no key. */
export function heartbeatRoutes(app: FastifyInstance, groups: Groups, copies: Copies): void {
  app.post<{ Params: { id: string }; Body: Beat | null }>(
    "/resources/:id/heartbeat",
    { schema: SCHEMA, config: { idempotency: false } },
    async ({ params: { id }, body }) => {
      const { group, incarnation } = body ?? {};
      const beat = await groups.get(group, "group").beats.heartbeat(id, { incarnation });
      return { ...beat, servers: await copies.servers() };
    },
  );
}
