import type { Command } from "./command.ts";
import { leasesList } from "./leases-list.ts";
import { migrate } from "./migrate.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [leasesList, migrate];
