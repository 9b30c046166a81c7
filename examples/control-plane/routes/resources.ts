import type { DesiredResource } from "evenkeel";
import type { FastifyInstance } from "fastify";
import type { Groups } from "../groups.ts";
import { naming, Refusal } from "../problems.ts";
import { resourceView } from "../resource-view.ts";
import { MOST_WORKERS } from "../settings.ts";
import { NAME_SCHEMA } from "./names.ts";

interface NewResource {
  readonly id: string;
  readonly group?: string;
  readonly spec?: unknown;
}

interface Named {
  readonly Params: { readonly id: string };
  readonly Querystring: { readonly group?: string };
}

const NEW = {
  body: {
    type: "object",
    additionalProperties: false,
    required: ["id"],
    properties: { id: NAME_SCHEMA, group: NAME_SCHEMA, spec: {} },
  },
};

const NAMED = {
  params: { type: "object", properties: { id: NAME_SCHEMA } },
  querystring: { type: "object", additionalProperties: false, properties: { group: NAME_SCHEMA } },
};

/** One resource more is desired, or one less. */
export function resourceRoutes(app: FastifyInstance, groups: Groups): void {
  app.post<{ Body: NewResource }>(
    "/resources",
    { schema: NEW, config: { idempotency: { required: true } } },
    async ({ body: { id, group, spec } }, reply) => {
      const { name, ledger, reconciler } = groups.get(group, "group");
      let created = false;
      const updated = ledger.updateDesired((desired: DesiredResource[]) => {
        // The key says that it is the same request. This says that it is the same resource, under whatever key.
        created = !desired.some((resource) => resource.id === id);
        if (!created) return desired;
        if (desired.length >= MOST_WORKERS) throw new Refusal(409, `There are ${MOST_WORKERS} already.`);
        return [...desired, spec === undefined ? { id } : { id, spec }];
      });
      const { generation } = await naming("spec", updated);
      reconciler.wake();
      const url = `/resources/${id}${name === groups.get(undefined).name ? "" : `?group=${name}`}`;
      return reply
        .code(created ? 201 : 200)
        .header("Location", url)
        .send({ group: name, id, created, generation });
    },
  );

  app.get<Named>("/resources/:id", { schema: NAMED }, async ({ params: { id }, query }) => {
    const { name, ledger } = groups.get(query.group, "group");
    const [row, { resources }] = await Promise.all([ledger.get(id), ledger.desired()]);
    const desired = resources.find((resource) => resource.id === id);
    if (row === undefined && desired === undefined) throw new Refusal(404, `There is no ${id} in ${name}.`);
    return { group: name, id, desired: desired !== undefined, spec: desired?.spec, ...(row && resourceView(row)) };
  });

  // A key is welcome: then a retry is answered as the first was, and not with 404.
  const config = { idempotency: { operation: "DELETE /resources/:id" } };
  app.delete<Named>("/resources/:id", { schema: NAMED, config }, async ({ params: { id }, query }, reply) => {
    const { name, ledger, reconciler } = groups.get(query.group, "group");
    await ledger.updateDesired((desired: DesiredResource[]) => {
      const others = desired.filter((resource) => resource.id !== id);
      if (others.length === desired.length) throw new Refusal(404, `Nobody desires ${id} in ${name}.`);
      return others;
    });
    reconciler.wake();
    return reply.code(204).send();
  });
}
