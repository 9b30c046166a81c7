import { isEvenkeelError } from "evenkeel";

/** What whoever started the program has to say otherwise. The message is one sentence, for people. */
export class BadInput extends Error {}

/**
 * Runs a program's beginning. What is wrong with what it was given is one line on stderr, and exit code 2; anything else is a
 * defect, and is thrown.
 */
export async function orSayWhatIsWrong<T>(begin: () => T | Promise<T>): Promise<T> {
  try {
    return await begin();
  } catch (error) {
    if (!(error instanceof BadInput || isEvenkeelError(error))) throw error;
    console.error(error.message.replaceAll(/\s*\n\s*/g, " "));
    process.exit(2);
  }
}
