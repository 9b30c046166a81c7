import { EvenkeelError } from "../errors.ts";
import { LeaseTerm } from "./lease-term.ts";
import type { ShardLeases, ShardMember } from "./shard-leases.ts";
import type { ShardSettings } from "./shard-settings.ts";

interface MembershipHooks {
  /** A renewal, or the release, failed. */
  onError(error: unknown): void;
  /** We can't take part; once for each time that this begins. */
  onRefusal(error: EvenkeelError): void;
}

/** Our own membership of a division, and who else is there. */
export class ShardMembership {
  readonly #settings: ShardSettings;
  readonly #leases: ShardLeases;
  readonly #lease: ReturnType<ShardLeases["membership"]>;
  readonly #hooks: MembershipHooks;
  #term: LeaseTerm<"left"> | undefined;
  #renewing: Promise<void> = Promise.resolve();
  #isRefused = false;

  constructor(settings: ShardSettings, leases: ShardLeases, hooks: MembershipHooks) {
    this.#settings = settings;
    this.#leases = leases;
    this.#lease = leases.membership();
    this.#hooks = hooks;
  }

  /**
   * Joins where we are not, or are no longer, a member. @returns the members among whom the shards are divided, ourselves included; none
   * where we can't take part.
   * @param standing `isIdle`: whether we hold no shard, and can step back.
   * @throws what the store did.
   */
  async refresh({ isIdle }: { readonly isIdle: boolean }): Promise<ShardMember[]> {
    const { member, shards } = this.#settings;
    if (this.#term?.over.aborted !== false && !(await this.#join())) return [];
    const members = await this.#leases.members();
    const alike = members.filter((other) => other.shards === shards);
    if (isIdle) {
      // Whoever holds shards goes on, and so do those who have left and still work; of several who begin at once, those who see the
      // others step back. After the members: who leaves has got all that he gets by then.
      const dividers = [...members, ...(await this.#leases.holders())];
      const others = new Set(dividers.filter((other) => other.shards !== shards).map(({ id }) => `"${id}"`));
      if (others.size > 0) {
        await this.leave();
        const { name } = this.#settings;
        this.#refuse(`The member ${[...others].join(", ")} divides "${name}" into another number of shards.`);
        return [];
      }
    }
    // Our lease may have lapsed since.
    if (!alike.some(({ id }) => id === member)) return [];
    this.#isRefused = false;
    return alike;
  }

  /** Whether we are a member at this moment: whoever joins sees us. */
  isMember(): boolean {
    return this.#term?.isHeld() ?? false;
  }

  /** Leaves, where we are a member. What fails is made good by the next one. */
  async leave(): Promise<void> {
    const term = this.#term;
    if (term === undefined) return;
    term.end("left");
    await this.#renewing;
    try {
      await this.#lease.release(term.epoch);
      this.#term = undefined;
    } catch (error) {
      this.#hooks.onError(error);
    }
  }

  async #join(): Promise<boolean> {
    await this.leave();
    const candidacy = await this.#lease.acquire();
    if (candidacy.status === "held") {
      // Our own, which could not be released, is no other process.
      if (candidacy.by.epoch === this.#term?.epoch) return false;
      this.#refuse(`Another process is the member "${this.#settings.member}", or was until a moment ago.`);
      return false;
    }
    const term = new LeaseTerm<"left">(this.#settings.clock, candidacy.grant);
    this.#term = term;
    this.#renewing = this.#lease.keepRenewed(term, this.#hooks.onError);
    return true;
  }

  #refuse(message: string): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#hooks.onRefusal(new EvenkeelError("NOT_LEADER", message));
  }
}
