import { type OptionRule, type OptionRules, rules } from "../option-rules.ts";

const RESOURCE_METHODS = ["getDesired", "setDesired", "apply", "heartbeat", "get", "list"] as const;

/** A store that keeps resources: one that was written before there were any does not. */
export const resourceStore: OptionRule = rules.custom("a LedgerStore with resources", (value) => {
  const resources = (value as { resources?: Record<string, unknown> | null } | null | undefined)?.resources;
  return typeof resources === "object" && RESOURCE_METHODS.every((name) => typeof resources?.[name] === "function");
});

/** What a `ResourceLedger` takes. */
export const LEDGER_RULES: OptionRules = {
  store: resourceStore,
  group: rules.name,
  clock: rules.clock,
  random: rules.random,
  storeTimeoutMs: rules.durationMs,
  leaseMs: rules.durationMs,
};
