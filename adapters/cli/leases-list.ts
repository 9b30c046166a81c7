import { command } from "./command.ts";
import { durationText } from "./duration-text.ts";
import { EXIT } from "./exit-status.ts";

/** Who leads, and who owns which shard. */
export const leasesList = command({
  name: "leases list",
  summary: "list the leases of elections and shards that are held now",
  details: [
    "With a NAME only those whose name begins so.",
    "Only leases that have not lapsed are there: of an election without a leader there is none.",
    "Those that can't be read are not there either: see evenkeel doctor.",
  ],
  argument: { name: "NAME", required: "optional" },
  options: {},
  async run({ argument = "", json, output, store, ask }) {
    const { leases } = await store();
    const held = await ask((call) => leases.list(argument, call));
    if (json) output.json({ leases: held });
    else if (held.length === 0) output.line("no lease is held");
    else {
      await output.table(
        [
          { head: "name" },
          { head: "holder" },
          { head: "epoch", align: "right" },
          { head: "renewals", align: "right" },
          { head: "lease left", align: "right" },
          { head: "of", align: "right" },
        ],
        held.map(({ name, holder, epoch, renewals, remainingMs, durationMs }) => [
          ...[name, holder, String(epoch), String(renewals)],
          ...[durationText(remainingMs), durationText(durationMs)],
        ]),
      );
    }
    return EXIT.done;
  },
});
