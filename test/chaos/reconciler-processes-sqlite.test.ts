import { describe } from "vitest";
import { useTemporaryFolder } from "../support/sqlite-files.ts";
import { describeReconcilerProcesses } from "./reconciler-processes.ts";

describe("processes that reconcile on one SQLite file", () => {
  const { folder } = useTemporaryFolder();
  describeReconcilerProcesses(async () => `sqlite:${folder.file("ledger.db")}`, 3);
});
