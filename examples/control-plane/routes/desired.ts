import type { DesiredResource } from "evenkeel";
import type { FastifyInstance } from "fastify";
import type { Groups } from "../groups.ts";
import { naming, Refusal } from "../problems.ts";
import { MOST_WORKERS } from "../settings.ts";
import { NAME_SCHEMA } from "./names.ts";

interface Wanted {
  readonly desired?: number;
  readonly resources?: readonly DesiredResource[];
}

const SCHEMA = {
  body: {
    type: "object",
    additionalProperties: false,
    anyOf: [{ required: ["desired"] }, { required: ["resources"] }],
    properties: {
      desired: { type: "integer", minimum: 0, maximum: MOST_WORKERS },
      resources: {
        type: "array",
        maxItems: MOST_WORKERS,
        items: {
          type: "object",
          additionalProperties: false,
          required: ["id"],
          properties: { id: NAME_SCHEMA, spec: {} },
        },
      },
    },
  },
};

/** `PUT /desired/:group`: so many, or these. What was desired before, which `GET` tells, is forgotten. */
export function desiredRoutes(app: FastifyInstance, groups: Groups): void {
  app.put<{ Params: { group: string }; Body: Wanted }>(
    "/desired/:group",
    // The operation is a label of metrics: it must not be of as many values as there may be groups.
    { schema: SCHEMA, config: { idempotency: { required: true, operation: "PUT /desired/:group" } } },
    async ({ params, body: { desired, resources } }) => {
      const { name, ledger, reconciler } = groups.get(params.group);
      if (desired !== undefined && resources !== undefined)
        throw new Refusal(400, "Say one of both.", [{ field: "resources", message: "can't be said beside desired" }]);
      const ids = new Set(resources?.map(({ id }) => id));
      if (ids.size < (resources?.length ?? 0))
        throw new Refusal(400, "Say each once.", [{ field: "resources", message: "must name each id once" }]);
      const { generation } = await naming("resources", ledger.setDesired(desired ?? resources ?? []));
      reconciler.wake();
      return { group: name, generation, desired: desired ?? ids.size };
    },
  );

  app.get<{ Params: { group: string } }>("/desired/:group", async ({ params }) => {
    const { name, ledger } = groups.get(params.group);
    return { group: name, ...(await ledger.desired()) };
  });
}
