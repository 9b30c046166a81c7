/** What was done, what the client saw, and what the bank says. */
export interface Row {
  readonly what: string;
  readonly seen: string;
  readonly bank: string;
  readonly ok: boolean;
}

/** The rows as text in columns. */
export function table(rows: readonly Row[]): string {
  const lines = [
    ["what was done", "what the client saw", "what the bank says", "as it should be"],
    ...rows.map(({ what, seen, bank, ok }) => [what, seen, bank, ok ? "yes" : "NO"]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const [header = "", ...body] = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return [header, "-".repeat(widths.reduce((sum, width) => sum + width + 2, -2)), ...body].join("\n");
}
