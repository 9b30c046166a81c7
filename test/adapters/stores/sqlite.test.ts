import { describe, it } from "vitest";
import { sqliteStore } from "../../../adapters/stores/sqlite.ts";
import { ManualClock, storeConformance } from "../../../src/testing/index.ts";
import { drivers, temporaryFolder } from "../../support/sqlite-files.ts";

describe.each(drivers)("sqliteStore on $name", ({ open }) => {
  // Each grant of a claim deletes a few expired records, so purge() can't count them all.
  const capabilities = { exactTime: true, watch: true, purge: false };
  const create = async () => {
    const folder = temporaryFolder();
    const clock = new ManualClock(Date.now());
    const handle = open(folder.file("ledger.db"));
    const store = sqliteStore(handle, { clock });
    const dispose = async (): Promise<void> => {
      await store.close();
      handle.close();
      folder.remove();
    };
    return { store, advance: (ms: number) => clock.advance(ms), dispose };
  };
  storeConformance({ describe, it }, create, capabilities);
});
