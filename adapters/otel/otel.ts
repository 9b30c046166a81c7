import type { EvenkeelEvent } from "../../src/events.ts";

export type InstrumentedListener = (event: EvenkeelEvent) => void;
