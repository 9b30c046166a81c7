/** A statement, and until when somebody waits for it. */
export interface PostgresStatement {
  readonly text: string;
  readonly values: readonly (string | Uint8Array | null)[];
  /** By the clock's monotonic time. */
  readonly deadline: number;
}

/** All columns are texts, which no type parser of the user's touches. */
export type PostgresRow = Readonly<Record<string, string | null>>;

/** What goes on inside of a transaction of ours. */
export interface PostgresSession {
  query(text: string, values?: readonly string[]): Promise<PostgresRow[]>;
  /** Several statements without values. */
  script(text: string): Promise<void>;
}

/** How the store reaches its database: over a pool of connections, or inside of this process. */
export interface PostgresDriver {
  /**
   * Runs one statement as a transaction of its own. `compose` is asked once a connection is there, so that what arrived
   * meanwhile goes along; when it answers `undefined` the connection goes back unused.
   * @param deadline - until when a connection is waited for; the statement has its own.
   */
  run(compose: () => PostgresStatement | undefined, deadline: number): Promise<PostgresRow[]>;
  /** Does `work` in one READ COMMITTED transaction. A failure rolls it back. */
  transaction<T>(deadline: number, work: (session: PostgresSession) => Promise<T>): Promise<T>;
  /**
   * Listens on a connection of its own, which does not keep the process alive. Resolves once it listens, with what ends it;
   * `onLost` says that it has ended by itself.
   */
  listen(channel: string, onNotification: (payload: string) => void, onLost: () => void): Promise<() => void>;
  /** Refuses who waits for a connection, waits for what has begun, and gives back what the driver opened. */
  close(): Promise<void>;
}

/** Leaves texts as they come, also from a pool that reads them in the binary format. */
export const RAW_TYPES = {
  getTypeParser: () => (value: unknown) => (typeof value === "string" ? value : String(value)),
} as const;

/** What of a `pg` Pool is used. */
export interface PostgresPool {
  connect(): Promise<PostgresPoolClient>;
  readonly totalCount: number;
  /** Whether its user has ended it. */
  readonly ending?: boolean;
  readonly options?: object;
  /** The class of its clients, where the pool tells it. */
  readonly Client?: new (
    options: object,
  ) => unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  removeListener(event: "error", listener: (error: Error) => void): unknown;
}

export interface PostgresPoolClient {
  query(query: object): Promise<{ rows: unknown[] }>;
  release(destroy?: Error): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  removeListener(event: "error", listener: (error: Error) => void): unknown;
}

/** What of a PGlite database is used. */
export interface PGliteDatabase {
  query(text: string, values?: unknown[], options?: object): Promise<{ rows: unknown[] }>;
  exec(text: string): Promise<unknown>;
  transaction<T>(work: (tx: PGliteTransaction) => Promise<T>): Promise<T | undefined>;
  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>;
}

export interface PGliteTransaction {
  query(text: string, values?: unknown[], options?: object): Promise<{ rows: unknown[] }>;
  exec(text: string): Promise<unknown>;
}

export function isPostgresPool(value: unknown): value is PostgresPool {
  // A single client can connect and query too, but it counts nothing.
  return hasMethods(value, "connect", "query", "on") && typeof (value as PostgresPool).totalCount === "number";
}

export function isPGlite(value: unknown): value is PGliteDatabase {
  return hasMethods(value, "query", "exec", "transaction", "listen");
}

export function hasMethods(value: unknown, ...names: string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}
