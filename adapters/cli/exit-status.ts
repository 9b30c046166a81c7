/** What the process ends with. */
export const EXIT = {
  /** Done, and nothing is wrong. */
  done: 0,
  /** A finding: what was asked for is not there, something is wrong with the ledger, or a record changed meanwhile. */
  finding: 1,
  /** Not done: it was asked wrongly, or there is no ledger that can be read. */
  usage: 2,
  /** 128 and the number of SIGINT, as shells have it. */
  interrupted: 130,
  /** The same of SIGTERM. */
  terminated: 143,
} as const;
