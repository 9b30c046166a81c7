import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A TypeScript file of the project, as its structure is seen. */
export interface SourceFile {
  /** From the root of the project, with slashes. */
  readonly path: string;
  /** The module specifiers that it imports or exports from, of values and of types. */
  readonly imports: readonly string[];
  /** The global things that it touches: `Date.now`, `setTimeout`, `Math.random` and the like. */
  readonly touches: readonly string[];
}

/** The TypeScript files below these folders. */
export function sourceFiles(...folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => join(folder, name).replaceAll("\\", "/"))
      .map((path) => readSource(path, readFileSync(join(ROOT, path), "utf8"))),
  );
}

/** The structure of one text. */
export function readSource(path: string, text: string): SourceFile {
  const imports = new Set<string>();
  const touches = new Set<string>();
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined) imports.add(specifier);
    for (const touched of touchedBy(node)) touches.add(touched);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true));
  return { path, imports: [...imports], touches: [...touches] };
}

/** The project's own file that a relative specifier names. */
export function resolveImport(from: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return relative(ROOT, join(ROOT, dirname(from.path), specifier)).replaceAll("\\", "/");
}

function specifierOf(node: ts.Node): string | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return textOf(node.moduleSpecifier);
  if (ts.isExternalModuleReference(node)) return textOf(node.expression);
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return textOf(node.argument.literal);
  if (!ts.isCallExpression(node)) return undefined;
  const callee = node.expression;
  const loads = callee.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(callee) && callee.text === "require");
  return loads ? textOf(node.arguments[0]) : undefined;
}

function textOf(node: ts.Node | undefined): string | undefined {
  return node !== undefined && ts.isStringLiteralLike(node) ? node.text : undefined;
}

function* touchedBy(node: ts.Node): Iterable<string> {
  if (ts.isPropertyAccessExpression(node)) yield `${node.expression.getText()}.${node.name.text}`;
  // A date of a known moment is a value; one of nothing is the time.
  if (ts.isNewExpression(node) && (node.arguments?.length ?? 0) === 0) yield `new ${node.expression.getText()}()`;
  if (ts.isCallExpression(node) && ts.isIdentifier(node.expression)) yield `${node.expression.text}()`;
  if (ts.isIdentifier(node) && isValueUse(node)) yield node.text;
}

function isValueUse(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  return !ts.isTypeReferenceNode(parent) && !ts.isTypeQueryNode(parent) && !ts.isPropertySignature(parent);
}
