import { strlen } from "cli-table3/src/utils.js";
import { describe, expect, it } from "vitest";
import { cutText } from "../../../adapters/cli/cut-text.ts";
import { durationText, readDuration } from "../../../adapters/cli/duration-text.ts";
import { failureText } from "../../../adapters/cli/failure-text.ts";
import { momentText } from "../../../adapters/cli/moment-text.ts";
import { createOutput } from "../../../adapters/cli/output.ts";
import { type Column, tableParts } from "../../../adapters/cli/table-text.ts";
import { EvenkeelError } from "../../../src/errors.ts";
import { shownJson, shownName, shownText } from "../../../src/shown-text.ts";
import { captured } from "./cli-kit.ts";

/** Also what no character is assigned to, and what looks like a space or like nothing: nothing that is shown as it is may be any of it. */
const ACTED_UPON = /(?![\n ])[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;

const tableText = (columns: readonly Column[], rows: readonly (readonly string[])[]): string =>
  [...tableParts(columns, rows)].join("\n");

const NASTY = [
  "\u001b[2J\u001b[31mred",
  "\u001b]0;title\u0007",
  "\u001b]8;;https://example.org\u001b\\link",
  "\u009b31mred",
  "over\rwritten\b\b",
  "two\nlines\u2028three",
  "\u202etxt.exe",
  "zero\u200bwidth\ufeff",
  "lone \ud800 half",
  "tag \u{e0041}",
  "filler \u3164\u115f\u2800",
  "a\u00a0space",
  "a\ufe0f",
  "\u0000nul\u007fdel",
];

describe("a text for people", () => {
  it.each(NASTY)("has nothing that a terminal acts upon: %j", (text) => {
    const shown = shownText(text);
    expect(shown).not.toMatch(ACTED_UPON);
    expect(shown).not.toContain("\n");
    expect(shown).toContain("\\");
  });

  it("stays as it is where there is nothing to hide", () => {
    const text = 'Zahlung über 5 € – 支付 🚢 \\ "quoted"';
    expect(shownText(text)).toBe(text);
  });
});

describe("a name for people", () => {
  it("is not the same as that of what it is written out as", () => {
    for (const text of NASTY) expect(shownName(shownText(text))).not.toBe(shownName(text));
    expect(shownName("\\x1b\u001b")).toBe("\\\\x1b\\x1b");
  });
});

describe("JSON for programs", () => {
  it("has nothing that a terminal acts upon, and is the same value", () => {
    const value = Object.fromEntries(NASTY.map((text) => [text, [text, { text }]]));
    for (const json of [shownJson(value), shownJson(value, 2)]) {
      expect(json).not.toMatch(ACTED_UPON);
      expect(JSON.parse(json)).toEqual(value);
    }
    expect(shownJson(value)).not.toContain("\n");
  });
});

describe("a table", () => {
  it("has its columns under each other, one line a row, whatever is in it", () => {
    const table = tableText(
      [{ head: "name" }, { head: "count", align: "right" }, { head: "last" }],
      [
        ["a", "5", "x"],
        ["two\nlines \u001b[31m", "12345", "支付"],
        ["", "1", ""],
      ],
    );
    expect(table.split("\n")).toEqual([
      "NAME                   COUNT  LAST",
      "a                          5  x",
      "two\\x0alines \\x1b[31m  12345  支付",
      "                           1",
    ]);
  });
});

describe("a long table", () => {
  it("ends when it is interrupted, also between two rows", async () => {
    const { stream, text } = captured(false);
    const ending = new AbortController();
    const output = createOutput({ stdout: stream, stderr: stream, signal: ending.signal });
    const rows = Array.from({ length: 5_000 }, (_, at) => [String(at)]);
    const printed = output.table([{ head: "a" }], rows);
    setImmediate(() => ending.abort(new Error("enough")));
    await expect(printed).rejects.toThrow("enough");
    expect(text()).toMatch(/^A\n0\n1\n/);
    expect(text().length).toBeLessThan(5_000);
  });
});

describe("a text that is cut", () => {
  it.each(["、", "「", "支", "ㄅ", "ꀀ", "한", "ｱ", "Ａ", "￥", "〒", "︰", "🚢", "é", "x"])(
    "takes no more columns than there are: %s",
    (char) => {
      const text = char.repeat(50);
      expect(strlen(cutText(text, 21))).toBeLessThanOrEqual(21);
      expect(cutText(text, strlen(text))).toBe(text);
    },
  );
});

describe("a huge text in a table", () => {
  it("is cut, and makes no other row as wide", () => {
    const huge = "\u{1f6a2}\u001b".repeat(200_000);
    const [, first = "", second = ""] = tableText(
      [{ head: "a" }, { head: "b" }],
      [
        [huge, "x"],
        ["1", "2"],
      ],
    ).split("\n");
    expect(first.length).toBeLessThan(250);
    expect(first).toMatch(/… {2}x$/);
    expect(first).not.toMatch(/\p{Cs}/u);
    expect(second.length).toBeLessThan(250);
  });

  it("stays as it is where it just fits", () => {
    const fits = "x".repeat(200);
    expect(tableText([{ head: "a" }], [[fits], ["支".repeat(100)]])).toBe(`A\n${fits}\n${"支".repeat(100)}`);
    expect(tableText([{ head: "a" }], [[`${fits}x`]])).toBe(`A\n${"x".repeat(199)}…`);
  });
});

describe("a moment", () => {
  it("is the number where it is no date", () => {
    expect(momentText(0)).toBe("1970-01-01T00:00:00.000Z");
    expect(momentText(9_000_000_000_000_000)).toBe("9000000000000000");
  });
});

describe("a duration", () => {
  it.each([
    [0, "0 ms"],
    [-5, "0 ms"],
    [999, "999 ms"],
    [1_000, "1 s"],
    [59_999, "59 s"],
    [60_000, "1 m"],
    [192_000, "3 m 12 s"],
    [3_600_000, "1 h"],
    [3_605_000, "1 h"],
    [86_399_999, "23 h 59 m"],
    [183_600_000, "2 d 3 h"],
  ])("of %d ms is %j", (ms, text) => {
    expect(durationText(ms)).toBe(text);
  });

  it.each([
    ["0s", 0],
    ["500ms", 500],
    ["90s", 90_000],
    ["5m", 300_000],
    ["12h", 43_200_000],
    ["7d", 604_800_000],
    ["5", undefined],
    ["", undefined],
    ["-5s", undefined],
    ["1.5h", undefined],
    ["5 s", undefined],
    ["999999999999d", undefined],
  ])("written %j is %s ms", (text, ms) => {
    expect(readDuration(text)).toBe(ms);
  });
});

describe("a failure", () => {
  const url = "postgres://user:p%40ss@host/db";

  it("is one line, with what the driver said", () => {
    const cause = Object.assign(new AggregateError([], ""), { code: "ECONNREFUSED" });
    const error = new EvenkeelError("STORE_UNAVAILABLE", "openStore: it can't be reached.", { cause });
    expect(failureText(error, url)).toBe("it can't be reached: ECONNREFUSED");
    expect(failureText(new Error("a\nb\r\n  c."), url)).toBe("a b c");
    expect(failureText("odd", url)).toBe("odd");
  });

  it("holds no password, neither as it is written nor as it is meant", () => {
    const error = new Error(`bad: ${url}, p@ss \u001b[31m`);
    expect(failureText(error, url)).toBe("bad: postgres://user:…@host/db, … \\x1b[31m");
  });
});
