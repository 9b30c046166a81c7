import { isEvenkeelError } from "../../src/errors.ts";
import { type OpenedStore, openStore } from "../open/open-store.ts";
import { type CommandContext, command } from "./command.ts";
import { EXIT } from "./exit-status.ts";
import { unlessAborted } from "./unless-aborted.ts";

/** Creates or upgrades the schema of a ledger. */
export const migrate = command({
  name: "migrate",
  summary: "create or upgrade the schema of a ledger, where it has one",
  details: ["Safe to run from many places at once, and where there is nothing to do. A file of SQLite is created."],
  options: {},
  async run(context) {
    const { json, output } = context;
    const before = await look("existing", context);
    const after = before ?? (await look("create", context));
    const schema = after?.migrate === undefined ? "none" : before === undefined ? "made" : "current";
    if (json) output.json({ engine: after?.engine, schema });
    else output.line(`${after?.engine}: ${SAYS[schema]}`);
    return EXIT.done;
  },
});

const SAYS = {
  none: "there is no schema to create, nothing to do",
  made: "the schema was made, the ledger is ready",
  current: "the schema is of this version, nothing to do",
} as const;

/** What is there; undefined for what has to be made first. */
async function look(
  ledger: "existing" | "create",
  { url, prefix, timeoutMs, signal }: CommandContext<unknown>,
): Promise<Pick<OpenedStore, "engine" | "migrate"> | undefined> {
  try {
    const opening = openStore(url, { ledger, timeoutMs, ...(prefix === undefined ? {} : { prefix }) });
    const opened = await unlessAborted(opening, signal);
    await opened.close();
    return opened;
  } catch (error) {
    if (ledger === "existing" && isEvenkeelError(error) && error.code === "STORE_MISCONFIGURED") return undefined;
    throw error;
  }
}
