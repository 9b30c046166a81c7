import { EvenkeelError } from "evenkeel";
import { describe, expect, it } from "vitest";
import { errorCode, errorName, errorText } from "../../src/reconcile/error-name.ts";

const trap = new Proxy(new Error("secret"), {
  get() {
    throw new Error("trap");
  },
});
const ours = new EvenkeelError("WAIT_TIMEOUT", "No answer.");

describe("what is told of an error", () => {
  it.each<[string, unknown, string, string, string]>([
    ["ours", ours, "EvenkeelError", "WAIT_TIMEOUT", "No answer."],
    ["with a name", new TypeError("secret"), "TypeError", "TypeError", "TypeError"],
    ["with a code", Object.assign(new Error("secret"), { code: "ENOENT" }), "Error", "ENOENT", "Error"],
    ["with a code that is none", Object.assign(new Error("secret"), { code: "a secret" }), "Error", "Error", "Error"],
    ["with a name that is none", Object.assign(new Error("x"), { name: "a secret" }), "unknown", "unknown", "unknown"],
    ["with a number for a code", Object.assign(new Error("x"), { code: 5 }), "Error", "Error", "Error"],
    ["that is a text", "secret", "string", "string", "string"],
    ["that is nothing", undefined, "undefined", "undefined", "undefined"],
    ["that throws when it is read", trap, "unknown", "unknown", "unknown"],
  ])("%s", (_, error, name, code, text) => {
    expect([errorName(error), errorCode(error), errorText(error)]).toEqual([name, code, text]);
  });
});
