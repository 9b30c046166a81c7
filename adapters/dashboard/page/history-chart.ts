/*!
 * uPlot 1.6, https://github.com/leeoniya/uPlot
 * Copyright (c) 2022 Leon Sorokin, under the MIT License:
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files
 * (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
 * publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do
 * so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
 * MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE
 * FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
 * CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
 */
import uPlot from "uplot";
import type { HistoryPoint } from "../dashboard-update.ts";
import { countText } from "./duration-text.ts";
import { element, setAttribute, setText } from "./element.ts";

const HEIGHT = 220;
const MINUTE_MS = 60_000;
/** Of one label below the chart, and between two counts beside it. */
const LABEL_WIDTH = 84;
const COUNT_HEIGHT = 34;
const COUNTS = [1, 2, 5]
  .flatMap((step) => [0, 1, 2, 3, 4, 5, 6].map((power) => step * 10 ** power))
  .sort((a, b) => a - b);
const STEPS = [10, 15, 30, 60, 120, 300, 600, 900, 1_800].map((seconds) => seconds * 1_000);

const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

/** Desired beside observed of one group over time. A pointer over it reads the values of that moment. */
export function historyChart(): {
  readonly element: HTMLElement;
  show(points: readonly HistoryPoint[], now: number, spanMinutes: number): void;
} {
  const legend = chartLegend();
  const box = element("div", { class: "chart", role: "img" });
  let points: readonly HistoryPoint[] = [];
  let from = 0;
  let until = 1;
  const colour = (name: string) => (): string => getComputedStyle(box).getPropertyValue(name).trim();
  const stepped = uPlot.paths.stepped?.({ align: 1 });
  const line = stepped === undefined ? {} : { paths: stepped };
  const axis = { stroke: colour("--muted"), font: `12px ${getComputedStyle(document.body).fontFamily}`, size: 30 };
  const grid = { stroke: colour("--grid"), width: 1 };
  const plot = new uPlot(
    {
      width: 600,
      height: HEIGHT,
      ms: 1,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => [from, until] },
        y: { range: (_, __, highest) => [0, Math.max(1, highest ?? 0) * 1.15] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          ticks: { ...grid, size: 5 },
          space: LABEL_WIDTH,
          incrs: STEPS,
          values: (_, splits, __, ___, step) => splits.map((at) => (step < MINUTE_MS ? seconds : minutes).format(at)),
        },
        {
          ...axis,
          size: (_, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((value) => value.length)),
          grid,
          ticks: { show: false },
          space: COUNT_HEIGHT,
          incrs: COUNTS,
          values: (_, splits) => splits.map(countText),
        },
      ],
      series: [
        {},
        { ...line, stroke: colour("--observed"), fill: colour("--observed-fill"), width: 2, points: { show: false } },
        { ...line, stroke: colour("--desired"), width: 2, dash: [6, 4], points: { show: false } },
      ],
      hooks: {
        setCursor: [
          ({ cursor, posToVal }) => {
            const left = cursor.left ?? -1;
            legend.show(left < 0 ? undefined : valueAt(points, posToVal(left, "x")), points.at(-1));
          },
        ],
      },
    },
    [[], [], []],
    box,
  );
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry?.contentRect.width ?? 0);
    if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
  return {
    element: element("figure", {}, box, legend.element),
    show(shown, now, spanMinutes) {
      points = shown;
      from = now - spanMinutes * MINUTE_MS;
      until = now;
      const drawn = drawnOf(shown, from);
      plot.setData([
        drawn.map(({ at }) => at),
        drawn.map(({ observed }) => observed),
        drawn.map(({ desired }) => desired),
      ]);
      const last = shown.at(-1);
      if ((plot.cursor.left ?? -1) < 0) legend.show(undefined, last);
      setAttribute(box, "aria-label", `Desired beside observed, the last ${spanMinutes} minutes. ${summaryOf(drawn)}`);
    },
  };
}

/** Those in sight, and the one before them. */
function drawnOf(points: readonly HistoryPoint[], from: number): readonly HistoryPoint[] {
  const first = points.findIndex(({ at }) => at >= from);
  return first === -1 ? points.slice(-1) : points.slice(Math.max(0, first - 1));
}

/** What held at a moment: the last point that is not behind it. */
function valueAt(points: readonly HistoryPoint[], at: number): HistoryPoint | undefined {
  const found = points.findLast((point) => point.at <= at);
  return found && { ...found, at };
}

function summaryOf(points: readonly HistoryPoint[]): string {
  const part = (name: string, values: readonly (number | null)[]): string => {
    const known = values.filter((value) => value !== null);
    const last = values.at(-1) ?? null;
    if (known.length === 0) return `${name} unknown`;
    const now = last === null ? "unknown now" : `${countText(last)} now`;
    return `${name} ${now}, between ${countText(Math.min(...known))} and ${countText(Math.max(...known))}`;
  };
  return `${part(
    "Desired",
    points.map(({ desired }) => desired),
  )}; ${part(
    "observed",
    points.map(({ observed }) => observed),
  )}.`;
}

function chartLegend() {
  const moment = element("span", { class: "moment" });
  const desired = element("b");
  const observed = element("b");
  const entry = (kind: string, label: string, value: HTMLElement): HTMLElement =>
    element("span", { class: "series", "data-series": kind }, `${label} `, value);
  return {
    element: element(
      "figcaption",
      { class: "legend" },
      entry("desired", "Desired", desired),
      " ",
      entry("observed", "Observed", observed),
      " ",
      moment,
    ),
    /** The values of a moment that is pointed at, or the last. */
    show(pointed: HistoryPoint | undefined, last: HistoryPoint | undefined) {
      const point = pointed ?? last;
      setText(desired, numberText(point?.desired));
      setText(observed, numberText(point?.observed));
      setText(moment, pointed === undefined ? "" : `at ${seconds.format(pointed.at)}`);
    },
  };
}

function numberText(count: number | null | undefined): string {
  return count === null || count === undefined ? "unknown" : countText(count);
}
