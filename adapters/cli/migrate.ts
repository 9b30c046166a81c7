import { command } from "./command.ts";
import { EXIT } from "./exit-status.ts";

/** Creates or upgrades the schema of a ledger. */
export const migrate = command({
  name: "migrate",
  summary: "create or upgrade the schema of a ledger",
  options: {},
  async run({ json, output, store }) {
    await store("create");
    if (json) output.json({});
    return EXIT.done;
  },
});
