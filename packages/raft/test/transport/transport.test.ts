/** The contract of `Transport`, on the network in memory, on gRPC over TLS, and on the simulated network. */
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parseHostPort } from "@warren/std";
import { seededRandom } from "@warren/std/testing";
import { afterAll, beforeAll, describe, test } from "vitest";

import { grpcTransport, MemoryNetwork, type GrpcTransport, type Member, type Transport } from "../../src/index.ts";
import {
  makeAuthority,
  makeCertificate,
  readCertificate,
  transportContract,
  type TransportUnderTest,
} from "../../src/testing/index.ts";
import { fairWeather, SimulatedNetwork } from "../../src/testing/simulation/network.ts";
import { Process, Scheduler } from "../../src/testing/simulation/scheduler.ts";

const ids = [1, 2, 3];
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "raft-transport-contract-"));
  await makeAuthority(directory);
  await Promise.all(ids.map((id) => makeCertificate(directory, `member-${id}`)));
});
afterAll(() => rm(directory, { recursive: true }));

function memory(): TransportUnderTest {
  const network = new MemoryNetwork();
  return { transport: async () => network.transport(), address: (id) => `member-${id}` };
}

/** Members by their names, each where its newest process listens. */
function grpc(): TransportUnderTest {
  const found = new Map<string, GrpcTransport>();
  const dial = ({ address }: Member): ReturnType<typeof connect> => {
    const at = parseHostPort(found.get(address)?.address ?? "");
    if (at === undefined) throw new Error(`nothing listens at ${address}`);
    return connect(at);
  };
  return {
    async transport(id) {
      const tls = await readCertificate(directory, `member-${id}`);
      const made = grpcTransport({ listen: "127.0.0.1:0", tls, dial });
      found.set(`member-${id}`, made);
      return made;
    },
    address: (id) => `member-${id}`,
  };
}

/** Closes what a case opened. */
async function ran(subject: TransportUnderTest, run: (subject: TransportUnderTest) => Promise<void>): Promise<void> {
  const opened: Transport[] = [];
  try {
    await run({
      ...subject,
      async transport(id) {
        const made = await subject.transport(id);
        opened.push(made);
        return made;
      },
    });
  } finally {
    await Promise.all(opened.map((transport) => transport.close()));
  }
}

describe.each(transportContract)("a transport $title", ({ run }) => {
  test("in memory", () => ran(memory(), run));

  test("gRPC over TLS", () => ran(grpc(), run));

  test.each([
    ["fair", fairWeather],
    ["bad", { lossPerMille: 0, repeatPerMille: 300, minDelayMs: 0.1, maxDelayMs: 200 }],
  ])("simulated, in %s weather", async (_name, weather) => {
    const scheduler = new Scheduler();
    const ignored = (): void => undefined;
    const observer = { unreadable: ignored, sent: ignored, delivered: ignored };
    const network = new SimulatedNetwork(scheduler, seededRandom(1), observer);
    network.weather = weather;
    const state = { over: false };
    const work = ran(
      { transport: async () => network.transport(new Process()), address: (id) => `member-${id}` },
      run,
    ).finally(() => (state.over = true));
    const time = async (): Promise<void> => {
      while (!state.over) {
        await scheduler.run(scheduler.nowMs + 1, () => state.over);
        await new Promise(setImmediate);
      }
    };
    await Promise.all([work, time()]);
  });
});
