/** Thrown for what was asked wrongly: one line on stderr, and exit status 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}
