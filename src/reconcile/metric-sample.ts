export type * from "../metric-sample.ts";
