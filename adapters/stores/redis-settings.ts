import type { Clock } from "../../src/clock.ts";
import { EvenkeelError } from "../../src/errors.ts";
import type { AskRedis, RedisClient } from "./redis-client.ts";
import { redisError, unavailable } from "./redis-errors.ts";
import { textOfReply } from "./redis-reply.ts";

/** The format of ledgers that this version reads and writes. It writes no key of it: where there is none it is this. */
const FORMAT = 1;

/** The oldest server on which the store is run: older ones get no more fixes from anybody. */
const OLDEST = [6, 2] as const;

/** A cluster's slowest primary may hold up the first call by this. */
const LONGEST_MS = 1_000;

/** What could be learned of a server: absent parts are unknown, as where commands are denied. */
interface ServerSettings {
  readonly version?: string;
  readonly role?: string;
  readonly policy?: string;
}

export interface SettingsCheck {
  readonly clock: Clock;
  readonly allowEviction: boolean;
  /** Where a ledger of a later version says so. */
  readonly formatKey: string;
  /** How long the call has that wants to know. */
  readonly timeoutMs: number;
}

/**
 * Refuses servers on which the guarantees would not hold: a replica, one that evicts, one too old; and a ledger of a later
 * version. Of a cluster those primaries are judged that answer while the call can still be made: one that is away must not stop
 * the others.
 *
 * @returns whether each server told its eviction policy, and how many questions were not answered.
 * @throws EvenkeelError `STORE_MISCONFIGURED`; `STORE_UNAVAILABLE` where nobody answers.
 */
export async function checkSettings(
  client: RedisClient,
  { clock, allowEviction, formatKey, timeoutMs }: SettingsCheck,
): Promise<{ readonly policy: "known" | "unknown"; readonly silent: number }> {
  const isCluster = client.topology === "cluster";
  const boundMs = isCluster ? Math.min(LONGEST_MS, timeoutMs / 2) : timeoutMs;
  const asked = client.primaries().map((ask) => inTime(settingsOf(ask), boundMs, clock));
  const [answers, [format]] = await Promise.all([
    Promise.allSettled(asked),
    Promise.allSettled([formatOf(client, formatKey, boundMs, clock)]),
  ]);
  const servers = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const [failure] = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
  if (servers.length === 0) throw redisError(failure ?? new Error("the cluster has no primary"));
  for (const server of servers) {
    // A cluster sends writes to a primary by itself; one that is a replica now was none a moment ago.
    if (server.role === "slave" && !isCluster) throw notPrimary(client);
    if (server.version !== undefined && isOlder(server.version)) {
      throw misconfigured(`Redis is of version ${server.version}; redisStore needs ${OLDEST.join(".")} or later`);
    }
    if (!allowEviction && server.policy !== undefined && server.policy !== "noeviction") {
      throw misconfigured(
        `maxmemory-policy is ${server.policy}: a record that Redis evicts runs twice. Set \`maxmemory-policy noeviction\`, or say \`allowEviction: true\` if that is meant`,
      );
    }
  }
  if (format.status === "fulfilled") assertFormat(format.value);
  else if (!isCluster) throw redisError(format.reason);
  const silent = answers.length - servers.length + (format.status === "fulfilled" ? 0 : 1);
  const isKnown = allowEviction || servers.every(({ policy }) => policy !== undefined);
  return { policy: isKnown ? "known" : "unknown", silent };
}

/** What the ledger says of its format, if it does and we may know. */
async function formatOf(client: RedisClient, key: string, boundMs: number, clock: Clock): Promise<string | undefined> {
  const giveUp = new AbortController();
  try {
    const ask: AskRedis = (args) => client.send(key, args, giveUp.signal);
    const stored = await inTime(optional(ask, ["GET", key]), boundMs, clock);
    return stored === undefined || stored === null ? undefined : textOfReply(stored);
  } finally {
    giveUp.abort();
  }
}

function assertFormat(format: string | undefined): void {
  if (format === undefined || format === String(FORMAT)) return;
  if (!/^\d+$/.test(format) || Number(format) < FORMAT)
    throw misconfigured("redisStore: the ledger's format is no number that ever was one");
  throw misconfigured(`redisStore: the ledger has format ${format}, which is newer than ${FORMAT}: upgrade evenkeel`);
}

/** What nobody answers, as ioredis may leave a command to a server that is away, must not be waited for by all that follow. */
function inTime<T>(answer: Promise<T>, boundMs: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`no answer about the settings within ${Math.round(boundMs)} ms`));
    const timer = clock.setTimer(boundMs, late, { ref: false });
    answer.then(resolve, reject).finally(() => timer.clear());
  });
}

/** INFO tells all in one round trip, also where CONFIG is denied, as managed services do. */
async function settingsOf(ask: AskRedis): Promise<ServerSettings> {
  const info = await optional(ask, ["INFO"]);
  const told = info === undefined ? {} : settingsIn(textOfReply(info));
  if (told.policy !== undefined) return told;
  const policy = await optional(ask, ["CONFIG", "GET", "maxmemory-policy"]);
  return policy === undefined ? told : { ...told, ...policyIn(policy) };
}

/** The answer, or nothing where the user of the client may not ask. */
async function optional(ask: AskRedis, args: readonly string[]): Promise<unknown> {
  try {
    return await ask(args);
  } catch (error) {
    if (error instanceof Error && /\bNOPERM\b|unknown command/i.test(error.message)) return undefined;
    throw error;
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
  return optionalField("policy", value === undefined ? undefined : textOfReply(value));
}

function optionalField(name: keyof ServerSettings, value: string | undefined): ServerSettings {
  return value === undefined ? {} : { [name]: value };
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

/** Behind Sentinels a client is on a replica for a moment after a failover, and elsewhere for good. */
function notPrimary({ topology }: RedisClient): EvenkeelError {
  const what = "The Redis client is connected to a replica";
  if (topology !== "server") return unavailable(what, new Error("a failover is under way"));
  return misconfigured(`${what}: connect it to the primary, or to Sentinels with the role of a primary`);
}

function misconfigured(what: string): EvenkeelError {
  return new EvenkeelError("STORE_MISCONFIGURED", `${what}.`);
}
