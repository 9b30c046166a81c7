import { isEvenkeelError } from "../../src/errors.ts";
import { rules } from "../../src/option-rules.ts";
import { actionOf } from "./action-body.ts";
import { dashboardActions } from "./actions.ts";
import { answer, invalidRequest, jsonAnswer, type Problem, problemAnswer } from "./answer.ts";
import { isTooLarge, untilTooLarge } from "./body-bytes.ts";
import type { DashboardSettings } from "./dashboard-options.ts";
import { EventStreams } from "./event-streams.ts";
import { EVENT_STREAM } from "./node-answer.ts";
import { pageFiles } from "./page-files.ts";
import { isOfSameOrigin } from "./same-origin.ts";
import { Sampler } from "./sampler.ts";
import { storeReader } from "./store-reader.ts";
import { windowQueryOf } from "./window-query.ts";

/** What is behind the addresses of a dashboard. */
export interface Routes {
  /** @param base - where the page is mounted, without a slash at the end. */
  answer(request: Request, base: string): Promise<Response>;
  close(): void;
}

type Handler = (request: Request, url: URL) => Response | Promise<Response>;

/** What is at an address. */
interface Route {
  readonly methods: readonly string[];
  readonly handle: Handler;
}

export function routes(settings: DashboardSettings): Routes {
  const ended = new AbortController();
  const sampler = new Sampler(settings);
  const streams = new EventStreams(settings, sampler);
  const actions = dashboardActions(settings, storeReader(settings, ended.signal));

  const events: Handler = (request, { searchParams }) => {
    const asked = windowQueryOf(searchParams);
    if ("problem" in asked) return problemAnswer(asked.problem);
    // Buffers between would hold events back.
    const headers = { "Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no" };
    if (request.method === "HEAD") return answer(200, headers, null);
    if (streams.isFull) return problemAnswer(TOO_MANY, { "Retry-After": "5" });
    return answer(200, headers, streams.open(asked.query, request.signal));
  };

  const plan: Handler = async (_, { searchParams }) => {
    const group = searchParams.get("group");
    if (!rules.name.test(group)) return problemAnswer(invalidRequest("group", `must be ${rules.name.says}`));
    const planned = await actions.plan(group as string);
    return "problem" in planned ? problemAnswer(planned.problem) : jsonAnswer(200, planned.plan);
  };

  const act: Handler = async (request) => {
    if (!/^application\/json *(;|$)/i.test(request.headers.get("content-type") ?? "")) return problemAnswer(NOT_JSON);
    const body = await untilTooLarge((request.body ?? []) as AsyncIterable<Uint8Array>);
    if (isTooLarge(body)) return problemAnswer(TOO_LARGE);
    const asked = actionOf(Buffer.from(body).toString());
    if ("problem" in asked) return problemAnswer(asked.problem);
    const result = await actions.carryOut(asked.action);
    sampler.lookSoon();
    if ("problem" in result) return problemAnswer(result.problem);
    if (result.status === "approved") return jsonAnswer(200, result.approved);
    return result.status === "done" ? answer(204, {}, null) : jsonAnswer(202, {});
  };

  const known = new Map<string, Route>();
  for (const [path, file] of pageFiles(settings.title))
    known.set(path, { methods: READS, handle: ({ headers }) => file(headers.get("if-none-match")) });
  known.set("/events", { methods: READS, handle: ofSameOrigin(events) });
  if (settings.actions) {
    known.set("/plan", { methods: ["GET"], handle: ofSameOrigin(storeBound(plan, UNREADABLE)) });
    known.set("/actions", { methods: ["POST"], handle: ofSameOrigin(storeBound(act, UNAVAILABLE)) });
  }

  return {
    async answer(request, base) {
      const url = new URL(request.url);
      if (ended.signal.aborted) return problemAnswer(CLOSED);
      if (url.pathname === base) return redirect(base, url.search);
      if (!url.pathname.startsWith(`${base}/`)) return problemAnswer(NOT_FOUND);
      url.pathname = url.pathname.slice(base.length);
      const route = known.get(url.pathname);
      if (route === undefined) return problemAnswer(NOT_FOUND);
      const { methods, handle } = route;
      return methods.includes(request.method)
        ? handle(request, url)
        : problemAnswer(NOT_ALLOWED, { Allow: methods.join(", ") });
    },
    close() {
      ended.abort(new Error("The dashboard is closed."));
      streams.close();
      sampler.close();
    },
  };
}

const READS = ["GET", "HEAD"];

/** Relative, since a proxy may have taken off what stands before. */
function redirect(base: string, search: string): Response {
  return answer(308, { Location: `./${base.slice(base.lastIndexOf("/") + 1)}/${search}` }, null);
}

/** Other pages may neither act by the rights of whoever looks at them, nor use streams up. */
function ofSameOrigin(handle: Handler): Handler {
  return (request, url) => (isOfSameOrigin(request) ? handle(request, url) : problemAnswer(FOREIGN));
}

/** @param silent - what is said where the store did not answer. */
function storeBound(handle: Handler, silent: Problem): Handler {
  return async (request, url) => {
    try {
      return await handle(request, url);
    } catch (error) {
      if (!isEvenkeelError(error)) throw error;
      const { code } = error;
      return problemAnswer({ ...(code === "STORE_UNAVAILABLE" ? silent : FAILED), code });
    }
  };
}

const NOT_FOUND: Problem = { status: 404, type: "not-found", title: "There is nothing at this address" };
const NOT_ALLOWED: Problem = { status: 405, type: "method-not-allowed", title: "The method is not allowed here" };
const FOREIGN: Problem = {
  status: 403,
  type: "other-origin",
  title: "The request comes from another page",
  detail: "Only the dashboard's own page, and programs that are no browsers, may ask for this.",
};
const NOT_JSON: Problem = {
  status: 415,
  type: "unsupported-media-type",
  title: "The body must be JSON",
  detail: "Content-Type must be application/json.",
};
const TOO_LARGE: Problem = { status: 413, type: "request-too-large", title: "The body is too large" };
const TOO_MANY: Problem = {
  status: 503,
  type: "too-many-streams",
  title: "Too many pages are open",
  detail: "Close one, or raise maxStreams.",
};
const CLOSED: Problem = { status: 503, type: "closed", title: "The dashboard is closed" };
const UNAVAILABLE: Problem = {
  status: 503,
  type: "store-unavailable",
  title: "The ledger is unavailable",
  detail: "Nobody knows whether it was done. Look again before you repeat it.",
};
const UNREADABLE: Problem = {
  status: 503,
  type: "store-unavailable",
  title: "The ledger is unavailable",
  detail: "The ledger did not answer. Nothing was changed: ask again.",
};
const FAILED: Problem = { status: 500, type: "not-done", title: "It could not be done" };
