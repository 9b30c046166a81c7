import { strict as assert } from "node:assert";

/** An answer of the kind that has this status, of those that a call can give. */
type WithStatus<Answer, Status> = Extract<NonNullable<Answer>, { readonly status: Status }>;

/**
 * Asserts what kind of answer a call gave.
 * @param what - whose answer it is, say the name of the call. All of these assertions say that, and what they saw: whoever reads
 *   a failure has the store before them, and not this suite.
 */
export function assertStatus<Answer extends { readonly status: string } | undefined, Status extends string>(
  answer: Answer,
  status: Status,
  what: string,
): asserts answer is WithStatus<Answer, Status> & Answer {
  const actual = answer === undefined ? "nothing" : JSON.stringify(answer.status);
  assert.ok(answer?.status === status, `${what} answers ${actual}, and has to answer "${status}"`);
}

/** Asserts that something is there at all. */
export function assertThere<T>(value: T | undefined, what: string): asserts value is T {
  assert.ok(value !== undefined, `${what} is undefined, and has to be there`);
}

/** Asserts that a field is left out of an answer, rather than there and undefined. */
export function assertLacks(answer: object, field: string, what: string): void {
  const value = (answer as Record<string, unknown>)[field];
  assert.ok(!(field in answer), `${what} has the field ${field}: ${String(value)}, and must not have it at all`);
}

export function assertAbove(actual: number | undefined, floor: number, what: string): void {
  assert.ok(actual !== undefined && actual > floor, `${what} is ${actual}, and has to be above ${floor}`);
}

export function assertAtLeast(actual: number | undefined, least: number, what: string): void {
  assert.ok(actual !== undefined && actual >= least, `${what} is ${actual}, and has to be at least ${least}`);
}

export function assertAtMost(actual: number | undefined, most: number, what: string): void {
  assert.ok(actual !== undefined && actual <= most, `${what} is ${actual}, and has to be at most ${most}`);
}

/** Asserts that a number is one that engines and JavaScript keep alike: a token, an epoch, a moment. */
export function assertWhole(actual: number, least: number, what: string): void {
  assert.ok(Number.isSafeInteger(actual), `${what} is ${actual}, and has to be a safe integer`);
  assertAtLeast(actual, least, what);
}

/** Asserts that bytes came back as they were stored. */
export function assertBytes(actual: unknown, expected: Uint8Array, what: string): void {
  assert.ok(actual instanceof Uint8Array, `${what} answers bytes as a Uint8Array`);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, index) => byte !== actual[index]);
  const where = `${actual.length} bytes for ${expected.length}, different from byte ${at < 0 ? expected.length : at} on`;
  assert.fail(`${what} answers the bytes that were stored (${where})`);
}
