import pg from "pg";

/** With auto_explain the server tells the plan of each statement, those inside of functions too. */
const TELL_PLANS = [
  "session_preload_libraries=auto_explain",
  "auto_explain.log_min_duration=0",
  "auto_explain.log_nested_statements=on",
  "client_min_messages=log",
];

/** A pool of one connection whose statements tell their plans. */
export interface PlanTellingPool {
  readonly pool: pg.Pool;
  /** Runs `work` and gives the plans of its statements. */
  plansOf(work: () => Promise<unknown>): Promise<readonly string[]>;
}

/** @param planCacheMode - `force_generic_plan` or `force_custom_plan`. */
export function planTellingPool(url: string, planCacheMode: string): PlanTellingPool {
  const options = [...TELL_PLANS, `plan_cache_mode=${planCacheMode}`].map((setting) => `-c ${setting}`).join(" ");
  const pool = new pg.Pool({ connectionString: url, max: 1, options });
  let plans: string[] = [];
  pool.on("connect", (client) => client.on("notice", ({ message }) => plans.push(message ?? "")));
  return {
    pool,
    async plansOf(work) {
      plans = [];
      await work();
      return plans;
    },
  };
}
