import type { Command } from "./command.ts";
import { doctor } from "./doctor.ts";
import { executionsComplete } from "./executions-complete.ts";
import { executionsList } from "./executions-list.ts";
import { executionsRelease } from "./executions-release.ts";
import { executionsShow } from "./executions-show.ts";
import { leasesList } from "./leases-list.ts";
import { migrate } from "./migrate.ts";
import { purge } from "./purge.ts";
import { resourcesList } from "./resources-list.ts";
import { resourcesShow } from "./resources-show.ts";
import { watch } from "./watch.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  executionsList,
  executionsShow,
  executionsRelease,
  executionsComplete,
  resourcesList,
  resourcesShow,
  watch,
  leasesList,
  purge,
  doctor,
  migrate,
];
