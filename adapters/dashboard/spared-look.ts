/** After so many bytes one look is left out, */
const BYTES_A_LOOK = 1_048_576;
/** but no more than so many. */
const MOST_LEFT_OUT = 30;

/**
 * A look whose answer may be large: the larger it was, the more of the next looks only repeat it.
 * @param bytesOf - about how large an answer is.
 */
export function sparedLook<T>(look: () => Promise<T>, bytesOf: (answer: T) => number): () => Promise<T> {
  let known: { readonly answer: T; leftOut: number } | undefined;
  return async () => {
    if (known !== undefined && known.leftOut > 0) {
      known.leftOut -= 1;
      return known.answer;
    }
    const answer = await look();
    known = { answer, leftOut: Math.min(MOST_LEFT_OUT, Math.floor(bytesOf(answer) / BYTES_A_LOOK)) };
    return answer;
  };
}
