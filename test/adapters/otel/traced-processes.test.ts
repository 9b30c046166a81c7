import { afterEach, describe, expect, it } from "vitest";
import { buildProgram } from "../../support/built-worker.ts";
import { useTemporaryFolder } from "../../support/sqlite-files.ts";
import { endWorkers, startWorker } from "../../support/workers.ts";
import type { TracedAnswer } from "./traced-worker.ts";

afterEach(endWorkers);

const { folder } = useTemporaryFolder();

describe("a replay in another process than the first run", () => {
  it("is linked to its span: beside it, after its end, and past a process that is not traced", async () => {
    const program = await buildProgram(new URL("traced-worker.ts", import.meta.url).pathname);
    const url = `sqlite:${folder.file("ledger.db")}`;
    const call = { key: "order-17" };
    const [first, beside] = await Promise.all([startWorker(program, url), startWorker(program, url)]);

    const ran = await first.ask<TracedAnswer>(call);
    expect(ran.spans).toMatchObject([{ name: "execute charge", links: [] }]);
    const [{ traceId, spanId } = { traceId: "", spanId: "" }] = ran.spans;
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    const linked = [{ name: "replay charge", links: [{ traceId, spanId }] }];

    const replayedBeside = await beside.ask<TracedAnswer>(call);
    expect(replayedBeside.value).toEqual(ran.value);
    expect(replayedBeside.spans).toMatchObject(linked);
    expect(replayedBeside.spans[0]?.traceId).not.toBe(traceId);

    first.kill("SIGKILL");
    beside.kill("SIGKILL");
    await Promise.all([first.ended, beside.ended]);
    const after = await startWorker(program, url);
    expect((await after.ask<TracedAnswer>(call)).spans).toMatchObject(linked);

    // Outcomes of processes that are not traced are replayed by those that are, and the other way round.
    const untraced = await startWorker(program, url, "untraced");
    expect(await untraced.ask<TracedAnswer>(call)).toEqual({ value: ran.value, spans: [] });
    const plain = await untraced.ask<TracedAnswer>({ key: "order-18" });
    const replayed = await after.ask<TracedAnswer>({ key: "order-18" });
    expect(replayed.value).toEqual(plain.value);
    expect(replayed.spans).toMatchObject([{ name: "replay charge", links: [] }]);
  });
});
