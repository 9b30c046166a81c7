// A page watches, then leaves; the server is closed and the dashboard is not. Nothing calls process.exit.
import { once } from "node:events";
import { createServer, get } from "node:http";

const built = (name) => import(new URL(`../../../dist/${name}.js`, import.meta.url).href);
const { dashboard } = await built("dashboard");
const { sqliteStore } = await built("sqlite");

const board = dashboard({ store: sqliteStore(process.argv[2]), intervalMs: 600_000 });
const server = createServer(board.node);
server.listen(0, "127.0.0.1");
await once(server, "listening");
const asked = get({ port: server.address().port, host: "127.0.0.1", path: "/events", agent: false });
const [response] = await once(asked, "response");
await once(response, "data");
asked.destroy();
server.close();
console.log("watched");
