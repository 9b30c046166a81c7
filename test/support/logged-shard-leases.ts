import type { LeaseStore } from "../../src/store.ts";
import { machineTime } from "./election-lines.ts";
import type { ShardNews } from "./shard-lines.ts";

/** The leases of a division, with a line for what happens to each; see `ShardNews`. */
export function loggedShardLeases(leases: LeaseStore, log: (news: ShardNews, at?: number) => void): LeaseStore {
  const shardOf = (name: string): number | undefined => {
    const shard = /\/shards\/(\d+)$/.exec(name)?.[1];
    return shard === undefined ? undefined : Number(shard);
  };
  const confirm = (name: string, epoch: number, at: number): void => {
    const shard = shardOf(name);
    log(shard === undefined ? { what: "member" } : { what: "confirmed", shard, epoch }, at);
  };
  return {
    async acquire(request, call) {
      const at = machineTime();
      const result = await leases.acquire(request, call);
      if (result.status === "acquired")
        confirm(request.name, result.epoch, at - (request.durationMs - result.remainingMs));
      return result;
    },
    async renew(request, call) {
      const at = machineTime();
      const { name, epoch } = request;
      const shard = shardOf(name);
      log(shard === undefined ? { what: "staying" } : { what: "renewing", shard, epoch }, at);
      const result = await leases.renew(request, call);
      if (result.status === "renewed") confirm(name, epoch, at - (request.durationMs - result.remainingMs));
      return result;
    },
    release(request, call) {
      const shard = shardOf(request.name);
      if (shard !== undefined) log({ what: "releasing", shard, epoch: request.epoch });
      return leases.release(request, call);
    },
    get: (name, call) => leases.get(name, call),
    list(prefix, call) {
      if (prefix.endsWith("/members/")) log({ what: "looking" });
      return leases.list(prefix, call);
    },
  };
}
