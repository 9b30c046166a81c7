import { describe, expect, it } from "vitest";
import { setUp, thrownBy } from "./set-up.ts";

/** Whatever a function says in which order: what the store took first is what every caller gets. */
describe("the outcome that stands", () => {
  it("is that of a completion which nobody awaited", async () => {
    const { once, eventsOf } = setUp();
    const charge = once((_input: undefined, ctx) => {
      void ctx.complete("a");
      return "b";
    });
    expect(await charge.run(undefined)).toMatchObject({ value: "a", replayed: false });
    expect(await charge.run(undefined)).toMatchObject({ value: "a", replayed: true });
    expect(eventsOf("outcome_ignored")).toHaveLength(1);
  });

  it("is the first of two that were completed at once", async () => {
    const { once } = setUp();
    const charge = once(async (_input: undefined, ctx) => {
      await Promise.all([ctx.complete("a"), ctx.complete("b")]);
      return "c";
    });
    expect(await charge(undefined)).toBe("a");
    expect(await charge(undefined)).toBe("a");
  });

  it("stays when the function throws after a completion that nobody awaited, and the error is the caller's", async () => {
    const { once, types } = setUp();
    const charge = once((_input: undefined, ctx) => {
      void ctx.complete("a");
      throw new Error("mine");
    });
    expect(await thrownBy(charge(undefined))).toMatchObject({ message: "mine" });
    expect(await charge(undefined)).toBe("a");
    expect(types()).toEqual(["claimed", "completed", "replayed"]);
  });

  it("is told and cached also when the function throws after it", async () => {
    const { once, types, log } = setUp();
    const options = { cache: { maxEntries: 1 } };
    const charge = once(async (_input: undefined, ctx) => {
      await ctx.complete("a");
      throw new Error("mine");
    }, options);
    await thrownBy(charge(undefined));
    const before = log.total;
    expect(await charge(undefined)).toBe("a");
    expect(log.total).toBe(before);
    expect(types()).toEqual(["claimed", "completed", "replayed"]);
  });

  it("can't be a promise, which nobody can store", async () => {
    const { once } = setUp();
    const charge = once((_input: undefined, ctx) => ctx.complete(Promise.resolve("a")));
    expect(await thrownBy(charge(undefined))).toMatchObject({ code: "INVALID_OPTIONS" });
  });
});
