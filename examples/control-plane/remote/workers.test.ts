import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ResourceView } from "../resource-view.ts";
import type { GroupAnswer } from "../routes/state.ts";
import { add, ask, askUntilAnswered, provisioned, URL_OF_SERVER, unique, untilState } from "./client.ts";

const isHere = ["127.0.0.1", "localhost", "[::1]"].includes(new URL(URL_OF_SERVER).hostname);

const untilThere = (group: string, ids: readonly string[]) =>
  untilState(`${ids} are there, and nothing is to do`, ({ groups }) => {
    const found = groups.find(({ name }) => name === group);
    return provisioned(found, ids).length === ids.length && found?.converged ? found : undefined;
  });

/** Sets what is desired beside what was desired before. */
async function desire(group: string, resources: readonly { id: string }[]): Promise<GroupAnswer> {
  const asked = { key: unique("key"), body: { resources } };
  const { status, json } = await askUntilAnswered("PUT", `/desired/${group}`, asked);
  assert.deepEqual([status, json.group, json.desired], [200, group, resources.length]);
  return untilState("what there is, is as desired", ({ groups }) =>
    groups.find(({ name, desired, converged, resources: found }) => {
      const isThere = found.length === desired && found.every(({ state }) => state === "PROVISIONED");
      return name === group && converged && desired === resources.length && isThere;
    }),
  );
}

describe("workers", () => {
  it("come and go as they are desired", async () => {
    const { json: state } = await ask("GET", "/state");
    const { name } = state.groups[0];
    const { json: before } = await ask("GET", `/desired/${name}`);
    const more = Array.from({ length: 4 }, () => ({ id: unique("scaled") }));
    try {
      const up = await desire(name, [...before.resources, ...more]);
      const down = await desire(name, [...before.resources, ...more.slice(0, 2)]);
      const ids = more.map(({ id }) => id);
      assert.deepEqual(
        provisioned(up, ids)
          .map(({ id }) => id)
          .sort(),
        [...ids].sort(),
      );
      // Those that stay are the same processes.
      assert.deepEqual(pids(provisioned(down, ids)), pids(provisioned(up, ids.slice(0, 2))));
    } finally {
      await desire(name, before.resources);
    }
  });

  it("are replaced when they are killed", { skip: !isHere && "its processes are on another machine" }, async () => {
    const { json: state } = await ask("GET", "/state");
    const { name } = state.groups[0];
    const id = unique("killed");
    const remove = await add([id]);
    try {
      const [worker] = provisioned(await untilThere(name, [id]), [id]);
      process.kill(Number(worker?.externalId), "SIGKILL");
      const [next] = await untilState("another one is there", ({ groups }) => {
        const found = provisioned(
          groups.find((group) => group.name === name),
          [id],
        );
        return found[0]?.incarnation === (worker?.incarnation ?? 0) + 1 && found;
      });
      assert.notEqual(next?.externalId, worker?.externalId);
      process.kill(Number(next?.externalId), 0);
    } finally {
      await remove();
    }
  });

  it("beat, and who was replaced, or is not known, is told", async () => {
    const { json: state } = await ask("GET", "/state");
    const { name } = state.groups[0];
    const id = unique("beating");
    const remove = await add([id]);
    try {
      const [worker] = provisioned(await untilThere(name, [id]), [id]);
      await untilState("it has beaten", ({ groups }) => {
        return provisioned(
          groups.find((group) => group.name === name),
          [id],
        ).some(({ heartbeatAgeMs }) => {
          return heartbeatAgeMs !== undefined && heartbeatAgeMs >= 0;
        });
      });
      const beat = (of: string, incarnation?: number) =>
        askUntilAnswered("POST", `/resources/${of}/heartbeat`, { body: { group: name, incarnation } });
      const { status, json } = await beat(id, worker?.incarnation);
      assert.deepEqual([status, json.accepted, json.superseded], [200, true, false]);
      assert.ok(json.servers.length > 0);
      for (const server of json.servers) assert.equal(new URL(server).protocol, "http:");
      // Nobody knows it (yet).
      assert.equal((await beat(id, 1_000_000)).json.accepted, false);
      assert.equal((await beat(unique("unknown"))).json.accepted, false);
    } finally {
      await remove();
    }
    const asked = { body: { group: name, incarnation: 1 } };
    const { json } = await askUntilAnswered("POST", `/resources/${id}/heartbeat`, asked);
    assert.deepEqual([json.accepted, json.superseded], [false, true]);
  });
});

function pids(workers: readonly ResourceView[]): unknown[] {
  return workers.map(({ externalId }) => externalId).sort();
}
