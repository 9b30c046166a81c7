import { describe, it } from "vitest";
import { storeConformance } from "../../../src/testing/index.ts";
import { drivers } from "../../support/sqlite-files.ts";
import { SQLITE_CAPABILITIES, sqliteSubject } from "../../support/sqlite-subject.ts";

describe.each(drivers)("sqliteStore on $name", ({ open }) => {
  storeConformance({ describe, it }, () => sqliteSubject(open), SQLITE_CAPABILITIES);
});
