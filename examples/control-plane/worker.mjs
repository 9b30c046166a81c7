// A worker: the resource that the control plane looks after. It does nothing but live, and say so. Plain JavaScript over Node's own
// modules, so that ten of them are up within a second.
import { appendFileSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const [folder = "", group = "", id = "", incarnation = "", key = "", how = "{}"] = process.argv.slice(2);
/** @type {{ servers: string[], ledger: string, beatMs: number, orphanMs: number }} */
const { servers: first, ledger, beatMs, orphanMs } = JSON.parse(how);

/** @param {"started" | "refused" | "ended"} event @param {string} [why] */
function log(event, why) {
  const line = { event, id, group, incarnation: Number(incarnation), key, pid: process.pid, atMs: Date.now(), why };
  // One write of one line: many append to the file.
  appendFileSync(join(folder, "log.jsonl"), `${JSON.stringify(line)}\n`);
}

/** @param {string} why @returns {never} */
function end(why) {
  log("ended", why);
  process.exit(0);
}

/**
 * Takes the file of this incarnation, which can be taken once: a link to a file that is whole already fails where there is one, and
 * nobody ever reads half of it.
 */
function isFirst() {
  const file = join(folder, group, `${id}#${incarnation}`);
  const draft = `${file}.${process.pid}.draft`;
  writeFileSync(draft, JSON.stringify({ pid: process.pid, key }));
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(draft);
  }
}

if (!isFirst()) {
  log("refused", "its key was used before");
  process.exit(0);
}
process.on("SIGTERM", () => end("it was asked to"));
log("started");

// From here on nothing ties it to the copy that started it, which may be gone already.
if (process.connected) process.send?.("at work", () => process.connected && process.disconnect());

const agent = new Agent({ keepAlive: true });
/** Who answers beats. The first of them is asked first: it answered last. */
let servers = first;
/** When the first of those beats failed that nobody has answered since. A machine that slept has asked nobody meanwhile. */
/** @type {number | undefined} */
let aloneSince;

for (;;) {
  const answer = await beat();
  if (answer !== undefined) aloneSince = undefined;
  else aloneSince ??= performance.now();
  if (aloneSince !== undefined && performance.now() - aloneSince > orphanMs) end("no control plane has answered");
  if (answer?.accepted === false) end(answer.superseded ? "it was replaced" : "nobody knows it");
  await sleep(beatMs);
}

/** Asks one after the other, until one answers that can say. */
async function beat() {
  let unable;
  for (const url of candidates()) {
    const answer = await answerOf(url);
    if (answer === undefined) continue;
    if (answer.status !== 503) {
      servers = [...new Set([url, ...answer.servers])];
      return answer;
    }
    // A copy that can't reach the ledger is there; it is no reason to end.
    unable = answer;
  }
  return unable;
}

/**
 * What a copy of this ledger answers; undefined where there is none, but one of another ledger or some other program.
 * @param {string} url
 */
async function answerOf(url) {
  try {
    const { status, body } = await post(url);
    const answer = JSON.parse(body);
    if (status === 200 && Array.isArray(answer.servers)) return answer;
    return status === 503 && answer.status === 503 ? answer : undefined;
  } catch {
    return undefined;
  }
}

function* candidates() {
  yield* servers;
  try {
    // Nobody answers whom it knows. There may be copies that came when those were gone.
    yield* JSON.parse(readFileSync(join(folder, "servers.json"), "utf8"));
  } catch {
    // No copy has written it yet.
  }
}

/** @param {string} url @returns {Promise<{ status: number, body: string }>} */
function post(url) {
  const body = JSON.stringify({ group, incarnation: Number(incarnation), ledger });
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/resources/${encodeURIComponent(id)}/heartbeat`, {
      method: "POST",
      agent,
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      // A copy that is frozen takes connections, too.
      signal: AbortSignal.timeout(Math.max(beatMs, 1_000)),
    });
    sent.once("error", reject);
    sent.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
      response.once("error", reject);
    });
    sent.end(body);
  });
}
