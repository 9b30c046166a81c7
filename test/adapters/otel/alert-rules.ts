/** One alert of a rule file. */
export interface ReadRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly severity: string;
  readonly summary: string;
  readonly description: string;
}

/** The lines that our rule file is made of; each is YAML, and means here what it means there. */
const LINES: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["nothing", /^(#.*)?$/],
  ["nothing", /^groups:$/],
  ["nothing", /^ {2}- name: [a-z-]+$/],
  ["nothing", /^ {4}rules:$/],
  ["alert", /^ {6}- alert: (Evenkeel[A-Za-z]+)$/],
  // A plain scalar has neither of these in it.
  ["expr", /^ {8}expr: ([a-z](?:(?!: | #).)*\S)$/],
  ["for", /^ {8}for: (\d+[smh])$/],
  ["nothing", /^ {8}(?:labels|annotations):$/],
  ["severity", /^ {10}severity: ([a-z]+)$/],
  ["summary", /^ {10}summary: (".*")$/],
  ["description", /^ {10}description: (".*")$/],
];

/**
 * Reads a rule file of our own form.
 * @throws where a line has another, or an alert lacks something.
 */
export function readRules(text: string): ReadRule[] {
  const rules: Record<string, string>[] = [];
  for (const line of text.split("\n")) {
    const [what, pattern] = LINES.find(([, form]) => form.test(line)) ?? [];
    if (what === undefined || pattern === undefined) throw new Error(`not a line of a rule file: ${line}`);
    if (what === "nothing") continue;
    const value = pattern.exec(line)?.[1] ?? "";
    if (what === "alert") rules.push({ alert: value });
    const rule = rules.at(-1);
    if (rule === undefined) throw new Error(`of no alert: ${line}`);
    rule[what] = value.startsWith('"') ? (JSON.parse(value) as string) : value;
  }
  if (rules.length === 0) throw new Error("no rules");
  for (const rule of rules)
    for (const part of ["expr", "severity", "summary", "description"])
      if (rule[part] === undefined) throw new Error(`${rule["alert"]} has no ${part}`);
  return rules as unknown as ReadRule[];
}
