import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { storeConformance } from "evenkeel/testing";
import { describe, expect, it } from "vitest";
import { BUCKET_CAPABILITIES, bucketSubject } from "../support/bucket-subject.ts";

describe("examples/custom-store", () => {
  storeConformance({ describe, it }, bucketSubject, BUCKET_CAPABILITIES);

  it("plays its demo", async () => {
    const cwd = fileURLToPath(new URL("../../examples/custom-store", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", "demo.ts"], { cwd });
    expect(stdout).toMatch(/by the first, replayed: true\nThe card was charged 1 time\./);
  });
});
