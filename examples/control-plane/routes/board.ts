import type { LedgerStore } from "evenkeel";
import { type Dashboard, dashboard } from "evenkeel/dashboard";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Groups } from "../groups.ts";
import { urlOf } from "../listen.ts";
import { thingsToTry } from "../things-to-try.ts";

export interface BoardOptions {
  readonly store: LedgerStore;
  readonly groups: Groups;
  /** Whether the page has buttons. */
  readonly actions: boolean;
  /** How many workers there are at first. */
  readonly desired: number;
}

const PATH = "/dashboard";

/** The page that shows all of it, live. */
export function boardRoutes(app: FastifyInstance, { store, groups, actions, desired }: BoardOptions): void {
  let board: Dashboard | undefined;

  function open(): Dashboard {
    return dashboard({
      store,
      reconcilers: [...groups].map(({ reconciler }) => reconciler),
      basePath: PATH,
      actions,
      title: "Control plane",
      intervalMs: 1_000,
      // Whoever opens the page sees what came before.
      history: "always",
      notes: thingsToTry(urlOf(app), groups.get(undefined).name, desired),
    });
  }

  // Only then is it known on which port this is.
  app.addHook("onListen", async () => {
    board ??= open();
  });

  function serve(request: FastifyRequest, reply: FastifyReply): void {
    board ??= open();
    reply.hijack();
    board.node(request.raw, reply.raw, request);
  }

  const config = { idempotency: false } as const;
  app.get("/", async (_request, reply) => reply.redirect(`${PATH}/`));
  app.all(PATH, { config }, serve);
  app.all(`${PATH}/*`, { config }, serve);
  // Its streams have no end of their own, and the server waits for all answers.
  app.addHook("preClose", async () => board?.close());
}
