import { storeConformance } from "evenkeel/testing";
import { describe, it } from "vitest";
import { KEYED_CAPABILITIES, KeyedLedger } from "../support/keyed-ledger.ts";

describe("keyedStore", () => {
  storeConformance({ describe, it }, async () => new KeyedLedger(), KEYED_CAPABILITIES);
});
