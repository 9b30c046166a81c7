import { Interruption } from "../../../adapters/cli/io.ts";
import { main } from "../../../adapters/cli/main.ts";
import { watch } from "../../../adapters/cli/watch.ts";
import { systemClock } from "../../../src/clock.ts";
import { systemRandom } from "../../../src/random.ts";
import { captured } from "./cli-kit.ts";

/** `evenkeel watch` in this process. */
export interface Watching {
  /** What it has printed so far. */
  lines(): string[];
  /** The same of `--json`. */
  json(): Record<string, unknown>[];
  /** Ends it as Ctrl-C does, and gives its exit status. */
  stop(): Promise<number>;
  /** When it ends by itself. */
  readonly ended: Promise<number>;
}

/** Runs `evenkeel watch` for programs, until it is stopped; it asks often. */
export function watching(argv: readonly string[]): Watching {
  const ending = new AbortController();
  const output = captured(false);
  const ended = main(["watch", "--interval", "20ms", ...argv], [watch], {
    ...{ stdout: output.stream, stderr: output.stream, env: {}, signal: ending.signal },
    ...{ clock: systemClock, random: systemRandom, version: "1.2.3" },
  });
  const lines = (): string[] => output.text().match(/.+/g) ?? [];
  return {
    lines,
    json: () => lines().map((line) => JSON.parse(line)),
    stop() {
      ending.abort(new Interruption(130));
      return ended;
    },
    ended,
  };
}
