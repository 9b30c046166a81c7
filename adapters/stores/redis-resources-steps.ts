import type { Clock } from "../../src/clock.ts";
import { recordCorrupt } from "../../src/execution-record.ts";
import type { StoreCall } from "../../src/store.ts";
import type { RedisConnection, ScriptCall } from "./redis-connection.ts";
import { unavailable } from "./redis-errors.ts";
import type { Reply } from "./redis-resources-rows.ts";
import { text } from "./redis-rows.ts";
import type { RedisScript } from "./redis-script.ts";

/** What the resources need of the connection. */
export type ScriptRunner = Pick<RedisConnection, "run">;

/** Runs the scripts of one call of the store, one after the other, within the call's time. */
export interface Steps {
  /** @throws EvenkeelError `RECORD_CORRUPT`, and what the connection throws. */
  run(script: RedisScript, keys: ScriptCall["keys"], args: ScriptCall["args"]): Promise<Reply>;
}

export function stepsOf(connection: ScriptRunner, clock: Clock, call: StoreCall): Steps {
  const deadline = clock.monotonic() + call.timeoutMs;
  let isFirst = true;
  return {
    async run(script, keys, args) {
      const timeoutMs = isFirst ? call.timeoutMs : deadline - clock.monotonic();
      isFirst = false;
      if (timeoutMs <= 0) throw unavailable("Redis did not answer in time", new Error("the call's time is used up"));
      const reply: Reply = await connection.run(script, { keys, args }, { timeoutMs });
      if (text(reply[0]) === "corrupt") throw recordCorrupt("what is stored of the group can't be read");
      return reply;
    },
  };
}
