import { createServer, type IncomingHttpHeaders, type RequestListener, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { DashboardHello, DashboardUpdate } from "../../../adapters/dashboard/dashboard.ts";

/** An answer, whole. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A server on a port of the system's. */
export class Served {
  readonly #server: Server;
  readonly port: number;
  /** Every byte of every body that was sent to us. */
  received = "";

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  static async by(listener: RequestListener): Promise<Served> {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Served(server);
  }

  /** One that listens already, and is ended by whoever began it. */
  static at(server: Server): Served {
    return new Served(server);
  }

  /** A body that is no text is sent as JSON. */
  ask(
    path: string,
    sending: { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: unknown } = {},
  ): Promise<Answer> {
    const { method = "GET", headers = {}, body } = sending;
    const type: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
    return new Promise((resolve, reject) => {
      const asked = request({
        host: "127.0.0.1",
        port: this.port,
        path,
        method,
        agent: false,
        headers: { ...type, ...headers },
      });
      asked.on("error", reject);
      asked.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("error", reject);
        response.on("data", (piece: string) => {
          text += piece;
        });
        response.on("end", () => {
          this.received += text;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      });
      asked.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
    });
  }

  /** Opens a stream of events, as a page does. */
  watch(path = "/events", headers: Record<string, string> = {}): Watching {
    return new Watching(this, path, headers);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}

/** A page's stream. */
export class Watching {
  readonly updates: DashboardUpdate[] = [];
  readonly hello: DashboardHello[] = [];
  beats = 0;
  retryMs: number | undefined;
  status: number | undefined;
  headers: IncomingHttpHeaders | undefined;
  isOver = false;
  readonly #asked: ReturnType<typeof request>;
  #unread = "";

  constructor(server: Served, path: string, headers: Record<string, string>) {
    this.#asked = request({ host: "127.0.0.1", port: server.port, path, agent: false, headers });
    const over = (): void => {
      this.isOver = true;
    };
    this.#asked.on("error", over);
    this.#asked.on("response", (response) => {
      this.status = response.statusCode;
      this.headers = response.headers;
      response.setEncoding("utf8");
      response.on("error", over);
      response.on("close", over);
      response.on("data", (piece: string) => {
        server.received += piece;
        this.#read(piece);
      });
    });
    this.#asked.end();
  }

  get last(): DashboardUpdate | undefined {
    return this.updates.at(-1);
  }

  leave(): void {
    this.#asked.destroy();
  }

  #read(piece: string): void {
    const blocks = (this.#unread + piece).split("\n\n");
    this.#unread = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2) as [string, string]));
      const data = fields.get("data");
      if (fields.has("retry")) this.retryMs = Number(fields.get("retry"));
      if (data === undefined) continue;
      if (fields.get("event") === "beat") this.beats += 1;
      else if (fields.get("event") === "hello") this.hello.push(JSON.parse(data));
      else if (fields.get("event") === "update") this.updates.push(JSON.parse(data));
    }
  }
}
