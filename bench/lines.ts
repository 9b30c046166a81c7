import { cpus } from "node:os";
import { measure } from "mitata";

/** How long each line is measured. */
const MEASURED_NS = Number(process.env["BENCH_MS"] ?? 2_000) * 1e6;
const AT_ONCE = [1, 64];

/** What is measured: calls that are all new, and calls that are all the same. What it is called begins with "raw" where it is the floor. */
export interface Subject {
  readonly engine: string;
  readonly what: string;
  firstCall(): unknown;
  replay(): unknown;
}

/** One line of the table; of `atOnce` calls at the same time. */
interface Line {
  readonly engine: string;
  readonly call: string;
  readonly what: string;
  readonly atOnce: number;
  readonly microsecondsPerCall: number;
}

/** Measures each subject, and prints a table with what does the same on the same engine beside one another. */
export async function printLines(subjects: readonly Subject[]): Promise<void> {
  console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model.trim()}\n`);
  const lines: Line[] = [];
  for (const subject of subjects) {
    await subject.replay();
    for (const call of ["firstCall", "replay"] as const) {
      for (const atOnce of AT_ONCE) lines.push(await measured(subject, call, atOnce));
    }
  }
  const engines = subjects.map(({ engine }) => engine);
  const orderOf = ({ engine, call, atOnce }: Line): number =>
    engines.indexOf(engine) * 4 + Number(call === "replay") * 2 + Number(atOnce !== 1);
  print(lines.toSorted((a, b) => orderOf(a) - orderOf(b)));
}

async function measured(subject: Subject, call: "firstCall" | "replay", atOnce: number): Promise<Line> {
  const once = (): unknown => subject[call]();
  const together = (): unknown => Promise.all(Array.from({ length: atOnce }, once));
  const stats = await measure(atOnce === 1 ? once : together, { min_cpu_time: MEASURED_NS });
  const { engine, what } = subject;
  const microsecondsPerCall = stats.avg / 1e3 / atOnce;
  return { engine, call: call === "replay" ? "replay" : "first call", what, atOnce, microsecondsPerCall };
}

function print(lines: readonly Line[]): void {
  console.log("| engine | call | at once | what | µs a call | calls a second | against raw |");
  console.log("|---|---|--:|---|--:|--:|--:|");
  for (const { engine, call, atOnce, what, microsecondsPerCall } of lines) {
    const raw = lines.find((line) => {
      return line.engine === engine && line.call === call && line.atOnce === atOnce && line.what.startsWith("raw");
    });
    const ratio = (raw?.microsecondsPerCall ?? Number.NaN) / microsecondsPerCall;
    const cells = [
      ...[engine, call, atOnce, what],
      ...[microsecondsPerCall.toFixed(2), Math.round(1e6 / microsecondsPerCall).toLocaleString("en-US")],
      `${ratio.toPrecision(2)} x`,
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}
