import type { Clock } from "../../src/clock.ts";
import { hasMethods, type PostgresPool } from "./postgres-driver.ts";
import { misconfigured } from "./postgres-errors.ts";

/** How long a connection may take to come about, and its LISTEN to be answered. */
const LONGEST_CONNECTING_MS = 10_000;
/** How long a connection may take to say goodbye. */
const LONGEST_PARTING_MS = 1_000;

/** What of the pools of `pg` is used that the store makes itself. */
export interface OwnPool extends PostgresPool {
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "connect", listener: (client: OwnPoolClient) => void): unknown;
  end(): Promise<void>;
}

interface OwnPoolClient {
  readonly connection: { readonly stream: { destroy(): void; once(event: "close", listener: () => void): unknown } };
}

interface PgModule {
  readonly Pool: new (options: object) => OwnPool;
  readonly Client: new (options: object) => ListeningClient;
}

interface ListeningClient {
  readonly connection?: { readonly stream?: { destroy(): void } };
  connect(): Promise<unknown>;
  query(text: string): Promise<unknown>;
  end(): Promise<unknown>;
  unref?(): void;
  on(event: "error" | "end", listener: () => void): unknown;
  on(event: "notification", listener: (message: { payload?: string }) => void): unknown;
}

/** @throws EvenkeelError `STORE_MISCONFIGURED` where `pg` isn't installed. */
export async function importPg(): Promise<PgModule> {
  // A variable keeps bundlers from resolving an optional peer.
  const driver = "pg";
  try {
    const loaded = (await import(/* @vite-ignore */ driver)) as PgModule & { default?: PgModule };
    return loaded.default ?? loaded;
  } catch (cause) {
    throw misconfigured("no driver was found: install pg, or pass a PGlite database.", { cause });
  }
}

/** The connections that listen, beside the pool's. None is left behind: not by an attempt that failed, nor by `close`. */
export class PostgresListeners {
  readonly #clock: Clock;
  readonly #open: () => Promise<PostgresPool>;
  readonly #url: string | undefined;
  readonly #clients = new Set<ListeningClient>();
  #isClosed = false;

  /** @param url - where to listen, when not with the pool's own settings. */
  constructor(clock: Clock, open: () => Promise<PostgresPool>, url: string | undefined) {
    this.#clock = clock;
    this.#open = open;
    this.#url = url;
  }

  /** See `PostgresDriver.listen`. */
  async listen(channel: string, onNotification: (payload: string) => void, onLost: () => void): Promise<() => void> {
    const client = await this.#client();
    this.#clients.add(client);
    client.on("error", onLost);
    client.on("end", onLost);
    client.on("notification", ({ payload = "" }) => onNotification(payload));
    client.unref?.();
    const timer = this.#clock.setTimer(LONGEST_CONNECTING_MS, () => this.#end(client), { ref: false });
    try {
      if (this.#isClosed) throw new Error("closed");
      await client.connect();
      client.unref?.();
      await client.query(`LISTEN "${channel}"`);
    } catch (error) {
      this.#end(client);
      throw error;
    } finally {
      timer.clear();
    }
    return () => this.#end(client);
  }

  close(): void {
    this.#isClosed = true;
    for (const client of this.#clients) this.#end(client);
  }

  #end(client: ListeningClient): void {
    if (!this.#clients.delete(client)) return;
    client.end().catch(() => {});
    // A server that has stopped never says goodbye, nor does one that still owes an answer.
    const destroy = (): void => client.connection?.stream?.destroy();
    this.#clock.setTimer(LONGEST_PARTING_MS, destroy, { ref: false });
  }

  async #client(): Promise<ListeningClient> {
    const extra = { connectionTimeoutMillis: LONGEST_CONNECTING_MS, keepAlive: true };
    if (this.#url !== undefined) return new (await importPg()).Client({ connectionString: this.#url, ...extra });
    const { Client, options = {} } = await this.#open();
    // `pg` hides the password from those who list the options.
    const settings = { ...options, password: (options as { password?: unknown }).password, ...extra };
    if (Client === undefined || !hasMethods(Client.prototype, "connect", "query", "end")) {
      throw misconfigured("the pool does not tell its class of clients: name a URL in `listen`.");
    }
    return new Client(settings) as ListeningClient;
  }
}
