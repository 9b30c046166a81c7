import { describe } from "vitest";
import { useTemporaryFolder } from "../support/sqlite-files.ts";
import { describeProcessFaults } from "./process-faults.ts";

const { folder } = useTemporaryFolder();

describe("processes on one SQLite file", () => {
  describeProcessFaults(async () => `sqlite:${folder.file("ledger.db")}`);
});
