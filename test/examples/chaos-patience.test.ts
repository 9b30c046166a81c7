import { describe, expect, it } from "vitest";
import { patiently } from "../../examples/control-plane/chaos/patience.ts";
import { EvenkeelError } from "../../src/errors.ts";

/** Fails so often, and then answers. */
function failing(times: number, error: Error): () => Promise<string> {
  let left = times;
  return async () => {
    left -= 1;
    if (left >= 0) throw error;
    return "answered";
  };
}

const away = new EvenkeelError("STORE_UNAVAILABLE", "PostgreSQL failed, or did not answer in time.");

describe("the patience of chaos", () => {
  it("asks a ledger again that is slow for once", async () => {
    expect(await patiently(failing(2, away))).toBe("answered");
  });

  it("ends with a ledger that stays away", async () => {
    await expect(patiently(failing(Number.POSITIVE_INFINITY, away), 0)).rejects.toBe(away);
  });

  it("does not ask again where that changes nothing", async () => {
    const wrong = new EvenkeelError("INVALID_OPTIONS", "a group needs a name");
    await expect(patiently(failing(1, wrong))).rejects.toBe(wrong);
  });
});
