import { memoryStore } from "evenkeel/memory";
import { ManualClock, storeConformance } from "evenkeel/testing";
import { describe, it } from "vitest";

describe("memoryStore", () => {
  storeConformance(
    { describe, it },
    async () => {
      const clock = new ManualClock();
      const store = memoryStore({ clock });
      return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
    },
    { exactTime: true, watch: true },
  );

  describe("without keys", () => {
    storeConformance(
      { describe, it },
      async () => {
        const clock = new ManualClock();
        const store = memoryStore({ clock, storeKeys: false });
        return { store, advance: (ms) => clock.advance(ms), dispose: () => store.close() };
      },
      { exactTime: true, watch: true, storeKeys: false },
    );
  });
});
