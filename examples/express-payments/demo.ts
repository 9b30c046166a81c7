import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Charge } from "./bank.ts";
import { killAll, type Program, startProgram } from "./program.ts";
import { type Row, table } from "./table.ts";

/** Long enough for a restart inside it, short enough to wait for. */
const LEASE_MS = 8_000;
const DUPLICATES = 50;

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly replayed: boolean;
  /** Seconds. */
  readonly retryAfter: number | undefined;
}

const folder = await mkdtemp(join(tmpdir(), "evenkeel-demo-"));
let bank: Program;
let service: Program;

try {
  bank = await startProgram("bank.ts", { PORT: "0" });
  service = await startService();
  const rows: Row[] = [];
  for (const scene of [duplicatesAtOnce, lostAnswer, anotherAmount, killedInMidCharge]) {
    for (const row of await scene()) {
      rows.push(row);
      process.stderr.write(row.ok ? "." : "!");
    }
  }
  process.stderr.write("\n");
  console.log(table(rows));
  if (!rows.every(({ ok }) => ok)) process.exitCode = 1;
} finally {
  await killAll();
  await rm(folder, { recursive: true, force: true });
}

/** Fifty requests of one key at the same moment; those that were told to come again do. */
async function duplicatesAtOnce(): Promise<Row[]> {
  await setBankDelay(200);
  const pay = (): Promise<Answer> => charge("duplicates", 1_000);
  const first = await Promise.all(Array.from({ length: DUPLICATES }, pay));
  const charged = first.filter(({ status, replayed }) => status === 201 && !replayed);
  const turnedAway = first.filter(({ status, retryAfter }) => status === 409 && retryAfter !== undefined);
  const replayed = first.filter((answer) => answer.replayed);
  const again = await Promise.all(Array.from({ length: turnedAway.length }, pay));
  const same = again.filter((answer) => answer.replayed && answer.body === charged[0]?.body);
  const bankSays = await chargesOf(1_000);
  return [
    {
      what: `${DUPLICATES} duplicates at once`,
      seen: `${charged.length} x 201, ${turnedAway.length} x 409 with Retry-After, ${replayed.length} x replay`,
      bank: bankSays,
      ok: charged.length === 1 && turnedAway.length + replayed.length === DUPLICATES - 1 && isOneCharge(bankSays),
    },
    {
      what: "those with 409 ask again",
      seen: `${same.length} of ${again.length} get the first answer, replayed`,
      bank: bankSays,
      ok: same.length === again.length && isOneCharge(bankSays),
    },
  ];
}

/** The client is gone before the answer comes: it can't know whether it has paid. */
async function lostAnswer(): Promise<Row[]> {
  await setBankDelay(500);
  const hangUp = send("lost-answer", 2_000);
  await bankWasAsked(2_000);
  hangUp();
  const answer = await retryUntilSettled(() => charge("lost-answer", 2_000));
  const bankSays = await chargesOf(2_000);
  return [
    {
      what: "a retry after the answer was lost",
      seen: describe(answer),
      bank: bankSays,
      ok: answer.status === 201 && answer.replayed && isOneCharge(bankSays),
    },
  ];
}

async function anotherAmount(): Promise<Row[]> {
  const answer = await charge("lost-answer", 2_001);
  const bankSays = await chargesOf(2_001);
  return [
    {
      what: "the same key with another amount",
      seen: describe(answer),
      bank: bankSays,
      ok: answer.status === 422 && bankSays === "no charge",
    },
  ];
}

/** The process dies after the bank has charged and before it has answered; another one starts on the same file. */
async function killedInMidCharge(): Promise<Row[]> {
  await setBankDelay(60_000);
  send("killed", 3_000);
  await bankWasAsked(3_000);
  await service.kill("SIGKILL");
  await setBankDelay(0);
  service = await startService();
  const early = await charge("killed", 3_000);
  const afterKill = await chargesOf(3_000);
  // As told, and not sooner: by then the lease of the dead process has run out.
  await sleep((early.retryAfter ?? 0) * 1_000);
  const answer = await charge("killed", 3_000);
  const bankSays = await chargesOf(3_000);
  const attempt = answer.status === 201 ? (JSON.parse(answer.body) as { attempt: number }).attempt : undefined;
  const late = await charge("killed", 3_000);
  return [
    {
      what: "kill -9 in mid-charge, restart, a retry at once",
      seen: `${describe(early)}${early.retryAfter === undefined ? "" : `, Retry-After ${early.retryAfter} s`}`,
      bank: afterKill,
      ok: early.status === 409 && early.retryAfter !== undefined && isOneCharge(afterKill),
    },
    {
      what: "a retry after Retry-After",
      seen: `${describe(answer)}, attempt ${attempt}`,
      bank: bankSays,
      ok: answer.status === 201 && !answer.replayed && attempt === 2 && bankSays === "1 charge, asked 2 times",
    },
    {
      what: "and once more",
      seen: describe(late),
      bank: await chargesOf(3_000),
      ok: late.status === 201 && late.replayed && late.body === answer.body,
    },
  ];
}

function startService(): Promise<Program> {
  const env = { PORT: "0", BANK_URL: bank.url, DATABASE: join(folder, "payments.db"), LEASE_MS: String(LEASE_MS) };
  return startProgram("server.ts", env);
}

/** Sends a payment and doesn't wait. Returns what hangs up. */
function send(key: string, amount: number): () => void {
  const sent = request(`${service.url}/payments`, { method: "POST", headers: headersOf(key) });
  // The connection ends without an answer: that is what the scene is about.
  sent.on("error", () => {}).end(JSON.stringify({ amount }));
  return () => sent.destroy();
}

async function charge(key: string, amount: number): Promise<Answer> {
  const response = await fetch(`${service.url}/payments`, {
    method: "POST",
    headers: headersOf(key),
    body: JSON.stringify({ amount }),
  });
  const retryAfter = response.headers.get("retry-after");
  return {
    status: response.status,
    body: await response.text(),
    replayed: response.headers.get("idempotent-replayed") === "true",
    retryAfter: retryAfter === null ? undefined : Number(retryAfter),
  };
}

function headersOf(key: string): Record<string, string> {
  return { authorization: "Bearer alice-token", "content-type": "application/json", "idempotency-key": key };
}

/** As a patient client does: 409 means later. */
async function retryUntilSettled(call: () => Promise<Answer>): Promise<Answer> {
  for (const deadline = performance.now() + 3 * LEASE_MS; ; ) {
    const answer = await call();
    if (answer.status !== 409 || performance.now() > deadline) return answer;
    await sleep(200);
  }
}

async function setBankDelay(ms: number): Promise<void> {
  await fetch(`${bank.url}/delay`, { method: "PUT", body: JSON.stringify({ ms }) });
}

async function bankWasAsked(amount: number): Promise<void> {
  for (let tries = 0; (await chargesOf(amount)) === "no charge"; tries += 1) {
    if (tries === 500) throw new Error("The payment never reached the bank.");
    await sleep(20);
  }
}

/** Each scene pays an amount of its own, so that the bank can say what came of it. */
async function chargesOf(amount: number): Promise<string> {
  const all = (await (await fetch(`${bank.url}/charges`)).json()) as Charge[];
  const charges = all.filter((made) => made.amount === amount);
  if (charges.length === 0) return "no charge";
  const requests = charges.reduce((sum, made) => sum + made.requests, 0);
  const times = requests === 1 ? "once" : `${requests} times`;
  return `${charges.length} ${charges.length === 1 ? "charge" : "charges"}, asked ${times}`;
}

function isOneCharge(bankSays: string): boolean {
  return bankSays === "1 charge, asked once";
}

function describe({ status, body, replayed }: Answer): string {
  const { code } = JSON.parse(body) as { code?: string };
  return `${status}${replayed ? " replayed" : ""}${code === undefined ? "" : ` ${code}`}`;
}
