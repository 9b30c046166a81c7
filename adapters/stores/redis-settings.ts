import { EvenkeelError } from "../../src/errors.ts";
import type { RedisClient } from "./redis-client.ts";
import { redisError, unavailable } from "./redis-errors.ts";

/** The oldest server on which the store is run: older ones get no more fixes from anybody. */
const OLDEST = [6, 2] as const;

/** What could be learned of a server: absent parts are unknown, as where commands are denied. */
interface ServerSettings {
  readonly version?: string;
  readonly role?: string;
  readonly policy?: string;
}

/**
 * Refuses servers on which the guarantees would not hold: a replica, one that evicts, one too old. Each primary of a cluster
 * is asked.
 *
 * @returns whether each server told its eviction policy.
 * @throws EvenkeelError `STORE_MISCONFIGURED`, `STORE_UNAVAILABLE`.
 */
export async function checkSettings(client: RedisClient, allowEviction: boolean): Promise<"known" | "unknown"> {
  const servers = await settingsOf(client);
  for (const server of servers) {
    if (server.role === "slave") throw notPrimary(client);
    if (server.version !== undefined && isOlder(server.version)) {
      throw misconfigured(`Redis is of version ${server.version}; redisStore needs ${OLDEST.join(".")} or later`);
    }
    if (!allowEviction && server.policy !== undefined && server.policy !== "noeviction") {
      throw misconfigured(
        `maxmemory-policy is ${server.policy}: a record that Redis evicts runs twice. Set \`maxmemory-policy noeviction\`, or say \`allowEviction: true\` if that is meant`,
      );
    }
  }
  return allowEviction || servers.every(({ policy }) => policy !== undefined) ? "known" : "unknown";
}

/** INFO tells all in one round trip, also where CONFIG is denied, as managed services do. */
async function settingsOf(client: RedisClient): Promise<ServerSettings[]> {
  const infos = await optional(client, ["INFO"]);
  if (infos !== undefined) {
    const servers = infos.map((info) => settingsIn(textOf(info)));
    if (servers.every(({ policy }) => policy !== undefined)) return servers;
  }
  const policies = await optional(client, ["CONFIG", "GET", "maxmemory-policy"]);
  return policies?.map((reply) => policyIn(reply)) ?? [{}];
}

/** The answers, or nothing where the user of the client may not ask. */
async function optional(client: RedisClient, args: readonly string[]): Promise<unknown[] | undefined> {
  try {
    return await client.askPrimaries(args);
  } catch (error) {
    if (error instanceof Error && /\bNOPERM\b|unknown command/i.test(error.message)) return undefined;
    throw redisError(error);
  }
}

function settingsIn(info: string): ServerSettings {
  const lines = new Map(info.split(/\r?\n/).map((line) => line.split(":", 2) as [string, string]));
  return {
    ...optionalField("version", lines.get("redis_version")),
    ...optionalField("role", lines.get("role")),
    ...optionalField("policy", lines.get("maxmemory_policy")),
  };
}

/** A list of names and values, or by RESP3 a map or an object. */
function policyIn(reply: unknown): ServerSettings {
  const value = Array.isArray(reply)
    ? reply[1]
    : reply instanceof Map
      ? [...reply.values()][0]
      : Object.values((reply ?? {}) as object)[0];
  return optionalField("policy", value === undefined ? undefined : textOf(value));
}

function optionalField(name: keyof ServerSettings, value: string | undefined): ServerSettings {
  return value === undefined ? {} : { [name]: value };
}

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString("utf8") : String(value);
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

/** Behind Sentinels and in clusters a client is on a replica for a moment after a failover, and elsewhere for good. */
function notPrimary({ topology }: RedisClient): EvenkeelError {
  const what = "The Redis client is connected to a replica";
  if (topology !== "server") return unavailable(what, new Error("a failover is under way"));
  return misconfigured(`${what}: connect it to the primary, or to Sentinels with the role of a primary`);
}

function misconfigured(what: string): EvenkeelError {
  return new EvenkeelError("STORE_MISCONFIGURED", `${what}.`);
}
