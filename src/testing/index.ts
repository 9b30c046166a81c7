export { CallLog } from "./call-log.ts";
export type {
  Fault,
  FaultPlan,
  FaultRates,
  FaultyCall,
  PlannedFault,
  StoreOperationName,
} from "./fault-plan.ts";
export { faultyStore } from "./faulty-store.ts";
export { ManualClock } from "./manual-clock.ts";
export { Partition, type PartitionState } from "./partition.ts";
export { seededRandom } from "./seeded-random.ts";
export {
  type ConformanceHook,
  type ConformanceRunner,
  type ConformanceSubject,
  type DamagedRecord,
  type RecordDamage,
  type RecordName,
  type StoreCapabilities,
  storeConformance,
} from "./store-conformance.ts";
