/// <reference path="../bundled-texts.d.ts" />
import chart from "./chart.css?raw";
import colours from "./colours.css?raw";
import frame from "./frame.css?raw";
import groups from "./groups.css?raw";
import narrow from "./narrow.css?raw";
import panels from "./panels.css?raw";
import tables from "./tables.css?raw";

/** The page's style sheet. The order counts: what comes later has the last word. */
export const pageStyles = [colours, frame, groups, chart, tables, panels, narrow].join("\n");
