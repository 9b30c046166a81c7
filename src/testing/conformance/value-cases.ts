import { strict as assert } from "node:assert";
import { assertThere } from "./assertions.ts";
import type { Bench, ConformanceCases } from "./bench.ts";

/** Texts that some engine, driver or language somewhere takes for more than text. */
const ODD_TEXTS: readonly string[] = [
  `it's "quoted" \`thrice\``,
  "'; DROP TABLE executions; --",
  `"); DELETE FROM evenkeel_executions; --`,
  "100%_[a-z]*?",
  "{tag}{0}%s%d:named?1$1@p",
  "return redis.call('FLUSHALL') -- ]] }}",
  "\\x00\\u0000\\",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "null",
  "undefined",
  "0",
  "-1e400",
  " leading and trailing ",
  "\u00e9 composed",
  "e\u0301 decomposed",
  "\u{1F680}\u{1F469}\u200d\u{1F52C}\ufeff\u202e\uffff",
  "x".repeat(255),
  "\u{1F680}".repeat(127),
  `'"%{}\\`.repeat(42),
];

/** Texts and bytes go in as data and come out as they were. */
export const valueCases: ConformanceCases = {
  "keeps odd keys apart and as they are": async (bench) => {
    for (const key of ODD_TEXTS) await bench.hold({ id: bench.id(`key ${key}`), key });
    for (const key of ODD_TEXTS) {
      const view = await bench.get(bench.id(`key ${key}`));
      assert.equal(view?.key, bench.capabilities.storeKeys ? key : undefined);
    }
  },

  "keeps odd scopes and operations as they are": async (bench) => {
    for (const text of ODD_TEXTS) await bench.hold({ id: bench.id(text), operation: text, scope: text });
    for (const text of ODD_TEXTS) {
      const found = await bench.executions.list({ operation: text, limit: 100 }, bench.call);
      assert.deepEqual(
        found.map(({ id, operation, scope }) => ({ id, operation, scope })),
        [{ id: bench.id(text), operation: text, scope: text }],
      );
    }
  },

  "keeps ids apart that differ in their last digit": async (bench) => {
    const ids = ["0", "1"].map((digit) => `${bench.id().slice(0, -1)}${digit}`);
    for (const id of ids) assert.equal((await bench.hold({ id })).claim.attempt, 1);
    assert.equal((await bench.executions.list({ limit: 10 }, bench.call)).length, 2);
  },

  "keeps a scope of 1,024 characters, and an empty one": async (bench) => {
    for (const scope of ["s".repeat(1_024), ""]) {
      await bench.hold({ id: bench.id(scope), scope });
      assert.equal((await bench.get(bench.id(scope)))?.scope, scope);
    }
  },

  "keeps a record without a key or a fingerprint as one": async (bench) => {
    const { key: _key, fingerprint: _fingerprint, ...bare } = bench.request();
    await bench.executions.claim(bare, bench.call);
    const view = await bench.get();
    assertThere(view, "what get answers");
    assert.equal(view.key, undefined);
    assert.equal(view.fingerprint, undefined);
  },

  "keeps each of the 256 bytes": async (bench) => {
    await roundTrips(
      bench,
      Uint8Array.from({ length: 256 }, (_, byte) => byte),
    );
  },

  "keeps no bytes at all as no bytes": async (bench) => {
    await roundTrips(bench, new Uint8Array(0));
  },

  "keeps the part of a larger buffer that it was given": async (bench) => {
    const whole = Uint8Array.from({ length: 64 }, (_, byte) => byte);
    await roundTrips(
      bench,
      whole.subarray(10, 20),
      Uint8Array.from({ length: 10 }, (_, byte) => byte + 10),
    );
    await roundTrips(bench, Buffer.from("a node buffer"), new TextEncoder().encode("a node buffer"));
  },

  "keeps a large outcome": async (bench) => {
    const bytes = new Uint8Array(bench.capabilities.maxOutcomeBytes);
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * 31) & 0xff;
    await roundTrips(bench, bytes);
  },

  "keeps leases that are longer than a 32-bit timer": async (bench) => {
    const leaseMs = 2 ** 31 + 1_000;
    const { claim } = await bench.hold({ leaseMs });
    bench.assertMs(claim.leaseRemainingMs, leaseMs);
    await bench.advance(2 ** 31 - 60_000);
    assert.equal((await bench.claim()).status, "running");
  },

  "keeps the shortest lease and retention that options allow": async (bench) => {
    const { holder } = await bench.hold({ leaseMs: 1, retentionMs: bench.retentionMs });
    await bench.advance(1);
    assert.equal((await bench.get())?.status, "abandoned");
    await bench.complete(holder, bench.outcome("paid"), 1);
    await bench.advance(1);
    assert.equal(await bench.get(), undefined);
  },
};

async function roundTrips(bench: Bench, bytes: Uint8Array, expected = bytes): Promise<void> {
  const id = bench.nonce().repeat(2);
  const { holder } = await bench.hold({ id });
  await bench.complete(holder, { kind: "value", bytes });
  bench.assertOutcome(await bench.claim({ id }), { kind: "value", bytes: expected }, "claim");
  bench.assertOutcome(await bench.get(id), { kind: "value", bytes: expected }, "get");
}
