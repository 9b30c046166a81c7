import { createLogUpdate } from "log-update";
import type { Clock, Timer } from "../../src/clock.ts";
import type { Output } from "./output.ts";
import type { WatchChange } from "./watch-change.ts";
import { type FrameContent, frameText } from "./watch-frame.ts";
import type { WatchView } from "./watch-views.ts";

interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

/** The second screen of a terminal, without its cursor: what was on the first one comes back. */
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[H";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const CLEAR = "\u001b[2J\u001b[H";
const REDRAW_MS = 1_000;
const MOST_CHANGES = 200;

/** Redraws a terminal in place, and once a second so that ages go on. Its last frame stays when it ends. */
export function screenView(output: Output, engine: string, clock: Clock): WatchView {
  const terminal = output.stdout as Output["stdout"] & Terminal;
  // The cursor is ours: what hides it there also answers signals, which are the command's.
  const draw = createLogUpdate(terminal, { showCursor: true });
  const changes: WatchChange[] = [];
  let content: Omit<FrameContent, "nowMs" | "changes"> = {
    engine,
    snapshot: undefined,
    seenAt: undefined,
    unknown: undefined,
  };
  let timer: Timer | undefined;
  const frame = (): string => {
    const { columns = 80, rows = 24 } = terminal;
    return frameText({ ...content, nowMs: clock.now(), changes }, { columns, rows });
  };
  const redraw = (): void => {
    draw(frame());
    timer?.clear();
    timer = clock.setTimer(REDRAW_MS, redraw);
  };
  // Lines may have been broken anew: nothing of the old frame is where it was.
  const onResize = (): void => {
    draw.clear();
    terminal.write(CLEAR);
    redraw();
  };
  terminal.write(ENTER);
  terminal.on("resize", onResize);
  redraw();
  return {
    changed(change) {
      changes.unshift(change);
      changes.splice(MOST_CHANGES);
    },
    seen(snapshot, nowMs) {
      content = { engine, snapshot, seenAt: nowMs, unknown: undefined };
      redraw();
    },
    unknown(why, nowMs) {
      content = { ...content, unknown: { since: content.unknown?.since ?? nowMs, why } };
      redraw();
    },
    end() {
      timer?.clear();
      terminal.off("resize", onResize);
      draw.done();
      terminal.write(`${LEAVE}${frame()}\n`);
    },
  };
}
