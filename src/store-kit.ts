/**
 * For those who write a store of their own: the contract, the protocol's pure decisions to execute inside an atomic step of the
 * engine, and a whole store over engines that have such steps over keys and texts.
 */
export { EvenkeelError, type EvenkeelErrorCode, isEvenkeelError } from "./errors.ts";
export * from "./execution-record.ts";
export type { KeyedEngine, KeyedTransaction } from "./keyed/keyed-engine.ts";
export { type KeyedStoreOptions, keyedStore } from "./keyed/keyed-store.ts";
export * from "./lease-record.ts";
export * from "./resource-changes.ts";
export * from "./resource-heartbeats.ts";
export * from "./resource-record.ts";
export * from "./resource-writes.ts";
export type * from "./store.ts";
