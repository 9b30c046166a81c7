/**
 * Takes the rejection off a promise that nobody waits for, whichever realm or library made it: otherwise it would end the process.
 * @returns whether it was one.
 */
export function dropRejection(value: unknown): boolean {
  if (!isThenable(value)) return false;
  Promise.resolve(value).catch(() => {});
  return true;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return typeof (value as { then?: unknown }).then === "function";
}
