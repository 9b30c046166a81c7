/** What an expression asks Prometheus for. */
export interface Selectors {
  readonly selectors: readonly {
    readonly metric: string;
    readonly matchers: readonly { readonly label: string; readonly operator: string; readonly value: string }[];
  }[];
  /** The labels that stand in `by (…)`, `on (…)` and their like. */
  readonly groupings: readonly string[];
}

const TOKEN =
  /\s+|"(?:[^"\\]|\\.)*"|\d+(?:\.\d+)?(?:ms|[smhdwy])?|\$?[a-zA-Z_:][\w:]*|=~|!~|!=|==|>=|<=|[=<>+\-*/%^(){}[\],]/y;
const OPERATORS = new Set(["and", "or", "unless", "bool", "offset"]);
const GROUPINGS = new Set(["by", "without", "on", "ignoring", "group_left", "group_right"]);

/**
 * Reads as much of PromQL as is needed to know which metrics and labels an expression names.
 * @throws where it can't be PromQL.
 */
export function selectorsOf(expr: string): Selectors {
  const tokens = tokensOf(expr);
  checkBrackets(tokens, expr);
  const selectors: Selectors["selectors"][number][] = [];
  const groupings: string[] = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at] ?? "";
    if (token === "[") {
      at = tokens.indexOf("]", at);
      continue;
    }
    if (!/^[a-zA-Z_:]/.test(token) || OPERATORS.has(token)) continue;
    if (GROUPINGS.has(token)) {
      const end = tokens.indexOf(")", at);
      groupings.push(...tokens.slice(at + 2, end).filter((label) => label !== ","));
      at = end;
    } else if (tokens[at + 1] === "{") {
      const end = tokens.indexOf("}", at);
      selectors.push({ metric: token, matchers: matchersOf(tokens.slice(at + 2, end), expr) });
      at = end;
      // Else a function or an aggregation.
    } else if (tokens[at + 1] !== "(" && !GROUPINGS.has(tokens[at + 1] ?? "")) {
      selectors.push({ metric: token, matchers: [] });
    }
  }
  return { selectors, groupings };
}

function tokensOf(expr: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < expr.length) {
    const from = TOKEN.lastIndex;
    const [token] = TOKEN.exec(expr) ?? [];
    if (token === undefined) throw new Error(`can't be read from ${from}: ${expr}`);
    if (token.trim() !== "") tokens.push(token);
  }
  return tokens;
}

function checkBrackets(tokens: readonly string[], expr: string): void {
  const closing: Readonly<Record<string, string>> = { "(": ")", "{": "}", "[": "]" };
  const open: string[] = [];
  for (const token of tokens) {
    const closes = closing[token];
    if (closes !== undefined) open.push(closes);
    else if ([")", "}", "]"].includes(token) && open.pop() !== token) throw new Error(`a bracket too many: ${expr}`);
  }
  if (open.length > 0) throw new Error(`a bracket is missing: ${expr}`);
}

function matchersOf(tokens: readonly string[], expr: string) {
  const matchers: { label: string; operator: string; value: string }[] = [];
  for (let at = 0; at < tokens.length; at += 4) {
    const [label = "", operator = "", value = "", comma = ","] = tokens.slice(at, at + 4);
    if (!/^["]/.test(value) || !["=", "=~", "!=", "!~"].includes(operator) || comma !== ",")
      throw new Error(`not a matcher: ${expr}`);
    matchers.push({ label, operator, value: JSON.parse(value) as string });
  }
  return matchers;
}
