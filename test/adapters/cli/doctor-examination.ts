import { examineAll } from "../../../adapters/cli/doctor.ts";
import { type Examination, type Finding, reasonOf } from "../../../adapters/cli/doctor-check.ts";
import { DOCTOR_LIMITS, type DoctorLimits } from "../../../adapters/cli/doctor-limits.ts";
import { type OpenedStore, openStore } from "../../../adapters/open/open-store.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { systemRandom } from "../../../src/random.ts";
import { storeOperation } from "../../../src/store-operation.ts";

export interface ExaminedOptions {
  readonly limits?: Partial<DoctorLimits>;
  readonly clock?: Clock;
  readonly prefix?: string;
  /** Defaults to 20,000. */
  readonly timeoutMs?: number;
}

/** What the doctor says of a ledger, and a look at single findings. */
export interface Examined extends Examination {
  /** The findings of one name. */
  of(id: string): readonly Finding[];
  /** Whether the check was made and found nothing. */
  isFine(id: string): boolean;
}

/** Has the doctor look at a ledger as the command does, with other limits. */
export async function examined(url: string, options: ExaminedOptions = {}): Promise<Examined> {
  const { clock = systemClock, prefix, timeoutMs = 20_000 } = options;
  const { signal } = new AbortController();
  let opening: Promise<OpenedStore> | undefined;
  try {
    const examination = await examineAll(
      {
        ...{ url, prefix, clock, timeoutMs, signal },
        store() {
          opening ??= openStore(url, { ledger: "existing", timeoutMs, ...(prefix === undefined ? {} : { prefix }) });
          return opening;
        },
        ask: (send) => storeOperation({ clock: systemClock, random: systemRandom, budgetMs: timeoutMs, send }),
      },
      // However busy the machine is.
      { ...DOCTOR_LIMITS, settleMs: 100, latencyMs: 30_000, ...options.limits },
    );
    return {
      ...examination,
      of: (id) => examination.findings.filter((finding) => finding.id === id),
      isFine: (id) => examination.fine.includes(id),
    };
  } finally {
    await (await opening?.catch(() => undefined))?.close();
  }
}

/** Why the doctor can't look at a ledger. An engine that is not there is asked for as long as there is time. */
export async function refusal(url: string, options: Pick<ExaminedOptions, "timeoutMs"> = {}): Promise<string> {
  return examined(url, options).then(
    () => "it could",
    (error) => reasonOf({ message: (error as Error).message }),
  );
}
