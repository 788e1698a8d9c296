/** The contracts of the API's seams, on what there is of each. */
import { X509Certificate } from "node:crypto";
import { connectToLeader, fixedCredentials, type Credentials } from "@warren/api/client";
import { createPipeline, pipelineConnection, startServer, type Peer } from "@warren/api/server";
import {
  credentialSourceContract,
  directoryContract,
  leaderConnectionContract,
  type LeaderUnderTest,
} from "@warren/api/testing";
import { createTestAuthority, type TestAuthority } from "@warren/security/testing";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { folder, TestDirectory } from "./fixture.ts";

const clusterId = "c1";
let authority: TestAuthority;
beforeAll(async () => {
  authority = await createTestAuthority({ clusterId });
});

const inProcess: LeaderUnderTest = {
  async connect(services) {
    const peer: Peer = {
      address: "192.0.2.1:1",
      local: false,
      identify: () => ({ name: "m2", roles: ["manager"] }),
      confirm: () => undefined,
    };
    return pipelineConnection(createPipeline({ services }), peer);
  },
};

const overTls: LeaderUnderTest = {
  async connect(services) {
    const server = await startServer({ services }, { socketPath: `${folder()}/m.sock` });
    onTestFinished(() => server.close());
    const leader = await authority.issue({ name: "m1", role: "manager" });
    const directory = new TestDirectory(authority.root, clusterId);
    const listener = await server.listen(
      { credentials: fixedCredentials(leader), directory },
      { address: "127.0.0.1:0" },
    );
    const follower = await authority.issue({ name: "m2", role: "manager" });
    const connection = connectToLeader({ host: listener.address, clusterId, credentials: fixedCredentials(follower) });
    onTestFinished(() => connection[Symbol.dispose]());
    return connection;
  },
};

describe.each([
  ["in one process", inProcess],
  ["over TLS", overTls],
])("a way to the leader %s", (_where, subject) => {
  test.each(leaderConnectionContract)("$title", ({ run }) => run(subject));
});

test("a contract's case fails where a way to the leader does otherwise", async () => {
  const [first] = leaderConnectionContract;
  const deaf: LeaderUnderTest = { connect: () => Promise.resolve({ async *call() {} }) };
  await expect(first?.run(deaf)).rejects.toThrow("there is one answer");
});

test.each(directoryContract)("a directory in memory $title", async ({ run }) => {
  const directory = new TestDirectory(authority.root, clusterId);
  const foreign = await createTestAuthority({ clusterId });
  const chainOf = async (by: TestAuthority, name: string, role: "manager" | "worker" | "client") => [
    new X509Certificate((await by.issue({ name, role })).cert),
  ];
  await run({
    directory,
    member: (name, role) => chainOf(authority, name, role),
    stranger: (name, role) => chainOf(foreign, name, role),
    remove: (name) => Promise.resolve(void directory.removed.add(name)),
  });
});

describe("a source of credentials", () => {
  test.each(credentialSourceContract)("that never change $title", async ({ run }) => {
    await run({ source: fixedCredentials(await authority.issue({ name: "m1", role: "manager" })), renew: undefined });
  });

  test.each(credentialSourceContract)("that are renewed $title", async ({ run }) => {
    let held: Credentials = await authority.issue({ name: "m1", role: "manager" });
    await run({
      source: { current: () => held },
      renew: async () => void (held = await authority.issue({ name: "m1", role: "manager" })),
    });
  });
});
