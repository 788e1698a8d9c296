/** A worker as a process that can be killed: the agent on containerd, with a network in memory. */
import { connect } from "@warren/api/client";
import { connectContainerd, type ContainerdOptions } from "@warren/runtime-containerd";
import { silentLogger, systemClock, systemRandom } from "@warren/std";
import { grpcSession, openLevelState, startAgent } from "../../src/index.ts";
import { FakeNetwork } from "../../src/testing/index.ts";

const [socket = "", folder = "", options = "{}"] = process.argv.slice(2);
const network = new FakeNetwork();
const seam = network.connect();
await startAgent(
  {
    runtime: await connectContainerd({}, JSON.parse(options) as ContainerdOptions),
    network: {
      ...seam,
      async open(settings, expected) {
        // Interfaces outlive the process, as in a kernel.
        for (const each of expected) network.attached.set(each.id, each);
        return seam.open(settings, expected);
      },
    },
    session: grpcSession(connect({ socket }).dispatcher),
    state: await openLevelState(`${folder}/state`),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  },
  { dataDir: folder, hostname: "edge-1", version: "1", leaveMs: 200, keepEndedMs: 5_000 },
);
