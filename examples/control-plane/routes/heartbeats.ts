import type { FastifyInstance } from "fastify";
import type { Copies } from "../copies.ts";
import type { Groups } from "../groups.ts";
import { Refusal } from "../problems.ts";
import { NAME_SCHEMA } from "./names.ts";

interface Beat {
  readonly group?: string;
  readonly incarnation?: number;
  readonly ledger?: string;
}

export interface HeartbeatOptions {
  /** The ledger's id. */
  readonly ledger: string;
  readonly groups: Groups;
  readonly copies: Copies;
}

const SCHEMA = {
  params: { type: "object", properties: { id: NAME_SCHEMA } },
  body: {
    type: "object",
    nullable: true,
    additionalProperties: false,
    properties: {
      group: NAME_SCHEMA,
      incarnation: { type: "integer", minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
      ledger: { type: "string" },
    },
  },
};

/** `POST /resources/:id/heartbeat`: a worker lives. Twice is the same, so that it needs no key. */
export function heartbeatRoutes(app: FastifyInstance, { ledger, groups, copies }: HeartbeatOptions): void {
  app.post<{ Params: { id: string }; Body: Beat | null }>(
    "/resources/:id/heartbeat",
    { schema: SCHEMA, config: { idempotency: false } },
    async ({ params: { id }, body }) => {
      const { group, incarnation, ledger: whose = ledger } = body ?? {};
      // Those have the same names. It may find a copy of its own yet.
      if (whose !== ledger) throw new Refusal(421, "This is another ledger's control plane.");
      const beat = await groups.get(group, "group").beats.heartbeat(id, { incarnation });
      return { ...beat, servers: await copies.servers() };
    },
  );
}
