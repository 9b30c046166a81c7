/** What `cli-table3` measures cells by: columns of a terminal, of which wide characters take two. */
declare module "cli-table3/src/utils.js" {
  export function strlen(text: string): number;
}
