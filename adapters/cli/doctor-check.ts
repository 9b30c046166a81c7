/** How bad a finding is: `error` breaks a guarantee, `warning` will or may, `hint` is worth knowing. */
export type Severity = "error" | "warning" | "hint";

/** Something that the doctor found. */
export interface Finding {
  /** Stable: the heading in `docs/operating.md` that explains it. */
  readonly id: string;
  readonly severity: Severity;
  /** Whose it is, where the check looks at several: a group, an election, a table. */
  readonly subject?: string;
  /** What is wrong. */
  readonly what: string;
  /** The setting or the command that changes it. */
  readonly change: string;
}

/** A check that could not be made: what it asks for is neither good nor bad. */
export interface Unknown {
  readonly id: string;
  readonly why: string;
}

/** What a check saw: nothing wrong, findings, or that it may not look. */
export type Verdict = readonly Omit<Finding, "id">[] | { readonly unknown: string };

/** One question to a subject, under a stable name. */
export interface Check<Subject> {
  readonly id: string;
  look(subject: Subject): Verdict | Promise<Verdict>;
}

/** What a number of checks saw. */
export interface Examination {
  readonly findings: readonly Finding[];
  readonly unknown: readonly Unknown[];
  /** The checks that found nothing. */
  readonly fine: readonly string[];
}

/** Nothing is wrong. */
export const FINE: Verdict = [];

/** One finding. */
export function found(severity: Severity, what: string, change: string, subject?: string): Verdict {
  return [{ severity, what, change, ...(subject === undefined ? {} : { subject }) }];
}

/** Makes the checks one after the other; one that throws could not be made, and the others are made all the same. */
export async function examine<Subject>(
  subject: Subject,
  checks: readonly Check<Subject>[],
  signal?: AbortSignal,
): Promise<Examination> {
  const findings: Finding[] = [];
  const unknown: Unknown[] = [];
  const fine: string[] = [];
  for (const { id, look } of checks) {
    signal?.throwIfAborted();
    const verdict = await verdictOf(() => look(subject));
    if ("unknown" in verdict) unknown.push({ id, why: verdict.unknown });
    else if (verdict.length === 0) fine.push(id);
    else findings.push(...verdict.map((finding) => ({ id, ...finding })));
  }
  return { findings, unknown, fine };
}

/** Several examinations as one. */
export function together(examinations: readonly Examination[]): Examination {
  return {
    findings: examinations.flatMap(({ findings }) => findings),
    unknown: examinations.flatMap(({ unknown }) => unknown),
    fine: examinations.flatMap(({ fine }) => fine),
  };
}

async function verdictOf(look: () => Verdict | Promise<Verdict>): Promise<Verdict> {
  try {
    return await look();
  } catch (error) {
    return { unknown: `it can't be asked: ${reasonOf(error)}` };
  }
}

/** The first line of what an engine said; where it is wrapped, of the engine's own words. */
export function reasonOf(error: unknown): string {
  const { message, cause } = (error ?? {}) as { message?: unknown; cause?: unknown };
  if (cause instanceof Error && cause.message !== "") return reasonOf(cause);
  return typeof message === "string" ? (message.split("\n", 1)[0] ?? "").replace(/\.$/, "") : String(error);
}
