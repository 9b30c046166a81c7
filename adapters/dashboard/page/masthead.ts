import { durationText } from "./duration-text.ts";
import { element, setAttribute, setShown, setText } from "./element.ts";
import type { StreamState } from "./event-stream.ts";
import { LOGO_PATHS } from "./logo-paths.ts";

/** A second and a bit is how old the newest always is: no age is told before this. */
const OLD_MS = 10_000;

/** The page's head: whose page it is, and whether what it shows is what is. */
export function masthead(): {
  readonly element: HTMLElement;
  setTitle(title: string): void;
  show(state: StreamState, sinceUpdateMs: number | undefined): void;
} {
  const title = element("h1", {}, "evenkeel");
  const light = element("span", { class: "light", "aria-hidden": "true" });
  const text = element("span");
  const pill = element("p", { class: "connection" }, light, text);
  const banner = element("p", { class: "banner" });
  const status = element("p", { class: "unseen", role: "status" });
  setShown(banner, false);
  let last: StreamState = "connecting";
  return {
    element: element(
      "header",
      { class: "masthead" },
      element("div", { class: "bridge" }, mark(), title, pill),
      banner,
      status,
    ),
    setTitle: (shown) => setText(title, shown),
    show(state, sinceUpdateMs) {
      setAttribute(pill, "data-connection", state);
      setText(text, pillText(state, sinceUpdateMs));
      setShown(banner, state === "lost");
      if (state === "lost")
        setText(
          banner,
          sinceUpdateMs === undefined
            ? "The server does not answer. Nothing is known yet."
            : `The connection is lost. What stands here is ${durationText(sinceUpdateMs)} old, and may no longer be so.`,
        );
      setAttribute(document.body, "data-connection", state);
      // Read out once a change, not once a second.
      if (state !== last)
        setText(status, state === "lost" ? "The connection is lost: what is shown is old." : "Connected.");
      last = state;
    },
  };
}

function pillText(state: StreamState, sinceUpdateMs: number | undefined): string {
  if (sinceUpdateMs === undefined) return state === "lost" ? "No answer" : "Connecting";
  const age = durationText(sinceUpdateMs);
  if (state === "lost") return `Lost, ${age} old`;
  return sinceUpdateMs < OLD_MS ? "Live" : `Live, ${age} old`;
}

function mark(): SVGElement {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "logo");
  for (const [name, d] of Object.entries(LOGO_PATHS)) {
    const path = document.createElementNS(namespace, "path");
    path.setAttribute("d", d);
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}
