import { turnOfEventLoop } from "../../src/clock.ts";
import { shownJson, shownText } from "../../src/shown-text.ts";
import type { Io } from "./io.ts";
import { type Column, tableParts } from "./table-text.ts";

/** Where a command writes. Nothing that it is given reaches the terminal as a control character. */
export interface Output {
  /** Whether people look at a terminal. */
  readonly isTty: boolean;
  /** One line on stdout. */
  line(text?: string): void;
  /**
   * A table on stdout: a line for the heads, one for each row, two spaces between columns. Others get their turn meanwhile.
   * Throws the signal's reason.
   */
  table(columns: readonly Column[], rows: readonly (readonly string[])[]): Promise<void>;
  /** What belongs to one thing, a line each, with the names in a column of their own. Those without a value are left out. */
  fields(fields: Readonly<Record<string, string | undefined>>): void;
  /** One JSON document on stdout. */
  json(value: unknown): void;
  /** One JSON document in one line, for output that has no end. */
  jsonLine(value: unknown): void;
  /** One line on stderr: what is neither a result nor an error. */
  note(text: string): void;
  /** The stream itself, for what redraws a terminal. It has to pass texts of the ledger through `shownText`. */
  readonly stdout: Io["stdout"];
  readonly stderr: Io["stderr"];
}

/** What a command prints with. */
export function createOutput({ stdout, stderr, signal }: Pick<Io, "stdout" | "stderr" | "signal">): Output {
  const line = (text = ""): void => void stdout.write(`${shownText(text)}\n`);
  return {
    isTty: stdout.isTTY === true,
    line,
    async table(columns, rows) {
      for (const part of tableParts(columns, rows)) {
        stdout.write(`${part}\n`);
        await turnOfEventLoop();
        signal.throwIfAborted();
      }
    },
    fields(fields) {
      const width = Math.max(...Object.keys(fields).map((name) => name.length));
      for (const [name, value] of Object.entries(fields)) {
        if (value !== undefined) line(`${name.padEnd(width)}  ${value}`);
      }
    },
    json: (value) => void stdout.write(`${shownJson(value, 2)}\n`),
    jsonLine: (value) => void stdout.write(`${shownJson(value)}\n`),
    note: (text) => void stderr.write(`${shownText(text)}\n`),
    stdout,
    stderr,
  };
}
