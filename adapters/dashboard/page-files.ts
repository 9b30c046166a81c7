import { digest } from "../../src/digest.ts";
import { answer } from "./answer.ts";
import { LOGO_PATHS } from "./page/logo-paths.ts";
import script from "./page/page.ts?script";
import { pageStyles } from "./page/page-styles.ts";

const { water, hull, mast } = LOGO_PATHS;
/** The mark of the page's head. */
const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#0e7f8d" stroke-linecap="round" stroke-linejoin="round" stroke-width="1.8"><path d="${water}"/><path fill="#0e7f8d" d="${hull}"/><path d="${mast}"/></svg>`;

/** Asked for anew each time, and answered 304 while it is the same. */
const CHECKED = "no-cache";

/** Answers with a file, or says that it is still the one that is known by this tag. */
export type PageFile = (ifNoneMatch: string | null) => Response;

/** The page and what it is made of, by path. */
export function pageFiles(title: string): ReadonlyMap<string, PageFile> {
  return new Map([
    ["/", file("text/html; charset=utf-8", pageOf(title))],
    ["/page.js", file("text/javascript; charset=utf-8", script)],
    ["/page.css", file("text/css; charset=utf-8", pageStyles)],
    ["/icon.svg", file("image/svg+xml", ICON)],
  ]);
}

function file(type: string, text: string): PageFile {
  const tag = `"${digest(text).slice(0, 32)}"`;
  const headers = { "Cache-Control": CHECKED, ETag: tag };
  return (ifNoneMatch) => {
    const isKnown = ifNoneMatch?.split(",").some((known) => known.trim().replace(/^W\//, "") === tag) ?? false;
    return isKnown ? answer(304, headers, null) : answer(200, { ...headers, "Content-Type": type }, text);
  };
}

/** Its addresses are relative, so that it works below any prefix. */
function pageOf(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page.css">
<script type="module" src="page.js"></script>
</head>
<body>
<noscript><p>This page needs JavaScript, which it loads from this server alone.</p></noscript>
</body>
</html>
`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}
