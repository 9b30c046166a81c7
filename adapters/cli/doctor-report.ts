import { shownName } from "../../src/shown-text.ts";
import type { Examination, Finding, Severity } from "./doctor-check.ts";
import type { Output } from "./output.ts";

const ORDER: readonly Severity[] = ["error", "warning", "hint"];

/** The worst first, otherwise in the order in which they were looked for. */
export function inOrder(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

/** Whether somebody has to do something. */
export function needsCare({ findings }: Examination): boolean {
  return findings.some(({ severity }) => severity !== "hint");
}

/** Prints what was found: for each finding what is wrong and what changes it. */
export function printExamination(examination: Examination, output: Output): void {
  const findings = inOrder(examination.findings);
  for (const { id, severity, subject, what, change } of findings) {
    output.line(`${severity.padEnd(7)}  ${id}${subject === undefined ? "" : `  ${shownName(subject)}`}`);
    output.line(`         ${what}.`);
    output.line(`         To change it: ${change}.`);
  }
  for (const { id, why } of examination.unknown) {
    output.line(`unknown  ${id}`);
    output.line(`         ${why}.`);
  }
  if (findings.length + examination.unknown.length > 0) output.line();
  output.line(summaryOf(examination));
}

function summaryOf({ findings, unknown, fine }: Examination): string {
  const counts = [...ORDER.map((severity) => findings.filter((finding) => finding.severity === severity).length)];
  const parts = [
    ...ORDER.flatMap((severity, at) =>
      counts[at] === 0 ? [] : [`${counts[at]} ${severity}${counts[at] === 1 ? "" : "s"}`],
    ),
    ...(unknown.length === 0 ? [] : [`${unknown.length} unknown`]),
    `${fine.length} checks found nothing`,
  ];
  return parts.join(", ");
}
