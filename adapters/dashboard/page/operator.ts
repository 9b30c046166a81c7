import { shownText } from "../../../src/shown-text.ts";
import type { DashboardAction, DashboardApproved, DashboardPlan } from "../dashboard-update.ts";

/** What came of a request. `text` is for people. */
export type Answer<T> =
  | { readonly status: "done"; readonly value: T }
  | { readonly status: "refused"; readonly text: string };

/** Asks the server to act, and of a plan what became of it: nothing where that still runs. Answers refusals; rejects never. */
export async function act(action: DashboardAction): Promise<Answer<DashboardApproved | undefined>> {
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(action) };
  const response = await ask("actions", init);
  if (response.status === "refused") return response;
  if (response.value.status !== 200) return { status: "done", value: undefined };
  try {
    return { status: "done", value: await response.value.json() };
  } catch {
    return { status: "refused", text: "It was done, but what came of it could not be read." };
  }
}

/** What the next pass over a group would do. */
export async function planOf(group: string): Promise<Answer<DashboardPlan>> {
  const response = await ask(`plan?${new URLSearchParams({ group })}`, {});
  if (response.status === "refused") return response;
  try {
    return { status: "done", value: await response.value.json() };
  } catch {
    return { status: "refused", text: "The plan could not be read." };
  }
}

async function ask(address: string, init: RequestInit): Promise<Answer<Response>> {
  let response: Response;
  try {
    response = await fetch(address, init);
  } catch {
    return { status: "refused", text: "The server did not answer: it is not known whether it was done." };
  }
  if (response.ok) return { status: "done", value: response };
  // RFC 9457.
  const problem: { detail?: unknown; title?: unknown } = await response.json().catch(() => ({}));
  const text = problem.detail ?? problem.title ?? `The server refused it, with ${response.status}.`;
  return { status: "refused", text: shownText(String(text)) };
}
