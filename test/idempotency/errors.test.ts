import { describe, expect, it } from "vitest";
import { setUp, thrownBy } from "./set-up.ts";

const NON_ERRORS: [string, unknown][] = [
  ["a text", "declined"],
  ["a number", 17],
  ["null", null],
  ["undefined", undefined],
  ["a plain object", { code: "declined", nested: [1n] }],
  ["a NaN", Number.NaN],
];

describe("an error that the function throws", () => {
  it("reaches the caller unchanged, by identity, and frees the key", async () => {
    const { once, types } = setUp();
    class Declined extends Error {
      readonly reason = "funds";
    }
    const declined = new Declined("declined");
    let fail = true;
    const charge = once(async () => {
      if (fail) throw declined;
      return "charged";
    });
    expect(await thrownBy(charge(undefined))).toBe(declined);
    fail = false;
    expect(await charge(undefined)).toBe("charged");
    expect(types()).toEqual(["claimed", "released", "claimed", "completed"]);
  });

  it.each(NON_ERRORS)("may be %s", async (_what, thrown) => {
    const { once, record } = setUp();
    const outcome = await once(() => Promise.reject(thrown))(undefined).then(
      () => ({ ok: true }),
      (error: unknown) => ({ ok: false, error }),
    );
    expect(outcome).toEqual({ ok: false, error: thrown });
    expect(await record()).toBeUndefined();
  });

  it("may be frozen", async () => {
    const { once } = setUp();
    const frozen = Object.freeze(new Error("frozen"));
    expect(await thrownBy(once(() => Promise.reject(frozen))(undefined))).toBe(frozen);
  });
});

describe('onError: "store"', () => {
  it("gives this caller the error itself, and a retry one of the same name, message, code and causes", async () => {
    const { once, types } = setUp();
    let runs = 0;
    const root = Object.assign(new TypeError("no route"), { code: "EHOSTUNREACH" });
    const declined = Object.assign(new RangeError("declined", { cause: root }), { code: 402 });
    const charge = once(
      () => {
        runs += 1;
        throw declined;
      },
      { onError: "store" },
    );
    expect(await thrownBy(charge(undefined))).toBe(declined);
    const replayed = (await thrownBy(charge(undefined))) as Error & { code: unknown };
    expect(replayed).not.toBe(declined);
    expect(replayed).toBeInstanceOf(RangeError);
    expect(replayed).toMatchObject({ name: "RangeError", message: "declined", code: 402 });
    expect(replayed.cause).toBeInstanceOf(TypeError);
    expect(replayed.cause).toMatchObject({ name: "TypeError", message: "no route", code: "EHOSTUNREACH" });
    expect(runs).toBe(1);
    expect(types()).toEqual(["claimed", "completed", "replayed"]);
  });

  it("keeps the name of a class that nobody else knows", async () => {
    const { once } = setUp();
    class CardDeclined extends Error {
      override name = "CardDeclined";
    }
    const charge = once(() => Promise.reject(new CardDeclined("no")), { onError: "store" });
    await thrownBy(charge(undefined));
    const replayed = await thrownBy(charge(undefined));
    expect(replayed).toBeInstanceOf(Error);
    expect(replayed).toMatchObject({ name: "CardDeclined", message: "no" });
  });

  it("never stores a stack, and cuts a message to 1,024 bytes", async () => {
    const { once, record } = setUp();
    const charge = once(() => Promise.reject(new Error(`${"x".repeat(2_000)}`)), { onError: "store" });
    await thrownBy(charge(undefined));
    const replayed = (await thrownBy(charge(undefined))) as Error;
    expect(replayed.message).toBe("x".repeat(1_024));
    const view = await record();
    const stored = Buffer.from(view?.status === "completed" ? view.outcome.bytes : []).toString();
    expect(stored).not.toMatch(/\.ts|at /);
    expect(replayed.stack).not.toMatch(/\.ts/);
  });

  it("cuts a message of wide characters to 1,024 bytes, too, and between two of them", async () => {
    const { once } = setUp();
    const charge = once(() => Promise.reject(new Error("\u{1F680}".repeat(1_000))), { onError: "store" });
    await thrownBy(charge(undefined));
    const { message } = (await thrownBy(charge(undefined))) as Error;
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1_024);
    expect(message).toBe("\u{1F680}".repeat(256));
  });

  it("cuts a chain of causes that is long or bites its tail", async () => {
    const { once } = setUp();
    const loop = new Error("loop");
    loop.cause = loop;
    const charge = once(() => Promise.reject(loop), { onError: "store" });
    await thrownBy(charge(undefined));
    let depth = 0;
    for (let error = await thrownBy(charge(undefined)); error instanceof Error; error = error.cause) depth += 1;
    expect(depth).toBeGreaterThan(1);
    expect(depth).toBeLessThan(20);
  });

  it("stores an error whose cause or code can't be stored, without it", async () => {
    const { once } = setUp();
    const odd = Object.assign(new Error("odd", { cause: () => {} }), { code: { not: "a code" } });
    const charge = once(() => Promise.reject(odd), { onError: "store" });
    await thrownBy(charge(undefined));
    expect(await thrownBy(charge(undefined))).toMatchObject({ name: "Error", message: "odd" });
  });

  it.each(NON_ERRORS)("throws an equal one for %s", async (_what, thrown) => {
    const { once } = setUp();
    let runs = 0;
    const charge = once(
      () => {
        runs += 1;
        throw thrown;
      },
      { onError: "store" },
    );
    for (let time = 0; time < 2; time += 1) {
      const outcome = await charge(undefined).then(
        () => ({ ok: true }),
        (error: unknown) => ({ ok: false, error }),
      );
      expect(outcome).toEqual({ ok: false, error: thrown });
    }
    expect(runs).toBe(1);
  });

  it("can be decided error by error", async () => {
    const { once } = setUp();
    let runs = 0;
    const charge = once(
      (input: string) => {
        runs += 1;
        throw new Error(input);
      },
      { key: (input) => input, onError: (error) => ((error as Error).message === "final" ? "store" : "release") },
    );
    for (const input of ["final", "final", "passing", "passing"]) await thrownBy(charge(input));
    expect(runs).toBe(3);
  });

  it("releases when the deciding function itself throws or answers nonsense, and the first error is kept", async () => {
    for (const onError of [
      () => {
        throw new Error("policy");
      },
      () => "perhaps" as never,
    ]) {
      const { once, record } = setUp();
      const own = new Error("declined");
      expect(await thrownBy(once(() => Promise.reject(own), { onError })(undefined))).toBe(own);
      expect(await record()).toBeUndefined();
    }
  });

  it("stores an error that can't be encoded as a tombstone, and does not run the function again", async () => {
    const { once } = setUp();
    let runs = 0;
    const charge = once(
      () => {
        runs += 1;
        throw Symbol("odd");
      },
      { onError: "store" },
    );
    expect(typeof (await thrownBy(charge(undefined)))).toBe("symbol");
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "RESULT_NOT_REPLAYABLE" });
    expect(runs).toBe(1);
  });
});
