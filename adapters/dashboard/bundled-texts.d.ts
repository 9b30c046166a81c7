/** The text of a file, as it is. */
declare module "*?raw" {
  const text: string;
  export default text;
}

/** A TypeScript file with all that it imports, as one script for browsers: see `bundled-page.ts` at the root. */
declare module "*?script" {
  const text: string;
  export default text;
}
