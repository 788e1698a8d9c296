/** Members in network namespaces of their own, around a router that drops what it is told to. */
import { Lab, type LabHost } from "@warren/netlink-napi/testing";
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { Clients } from "./clients.ts";
import { Processes, type MemberProcess } from "./processes.ts";

const port = 2377;
const addressOf = (id: number): string => `10.88.${id}.2`;

class PartitionedNetwork implements AsyncDisposable {
  private readonly lab: Lab;
  private readonly router: LabHost;
  private readonly paths: readonly string[];

  private constructor(lab: Lab, router: LabHost, paths: readonly string[]) {
    this.lab = lab;
    this.router = router;
    this.paths = paths;
  }

  static async make(count: number): Promise<PartitionedNetwork> {
    const lab = await Lab.open();
    const router = await lab.host("router");
    await router.netlink.writeSysctls({ "net/ipv4/ip_forward": "1" });
    const paths: string[] = [];
    for (let id = 1; id <= count; id++) {
      const host = await lab.host(`member-${id}`);
      await lab.wire(router, `10.88.${id}.1/24`, host, `${addressOf(id)}/24`);
      await host.netlink.putRoute({ destination: "0.0.0.0/0", gateway: `10.88.${id}.1` });
      paths.push(host.path);
    }
    const network = new PartitionedNetwork(lab, router, paths);
    await network.nft(`table ip partition {
      set cut { type ipv4_addr . ipv4_addr; }
      chain forward { type filter hook forward priority 0; ip saddr . ip daddr @cut drop; }
    }`);
    return network;
  }

  cluster(count: number): Promise<Processes> {
    return Processes.make(count, {
      options: { proposalTimeoutMs: 1_500, readTimeoutMs: 1_500, reads: "lease" },
      addresses: Array.from({ length: count }, (_, at) => `${addressOf(at + 1)}:${port}`),
      wrap: (id) => ["nsenter", `--net=${this.paths[id - 1]}`],
    });
  }

  /** Drops what is sent from one to another. */
  async cut(pairs: readonly (readonly [from: number, to: number])[]): Promise<void> {
    const elements = pairs.map(([from, to]) => `${addressOf(from)} . ${addressOf(to)}`);
    await this.nft(`add element ip partition cut { ${elements.join(", ")} }`);
  }

  async heal(): Promise<void> {
    await this.nft("flush set ip partition cut");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
  }

  private async nft(rules: string): Promise<void> {
    const { code, stderr } = await this.router.run("nft", ["-f", "-"], rules);
    expect(code, stderr).toBe(0);
  }
}

/** Both ways, between one and all others. */
const around = (id: number, count: number): [number, number][] =>
  Array.from({ length: count }, (_, at) => at + 1)
    .filter((other) => other !== id)
    .flatMap((other): [number, number][] => [
      [id, other],
      [other, id],
    ]);

const stepsDown = (member: MemberProcess): Promise<unknown> =>
  until("it steps down", () => member.leadership?.isLeader === false);

describe.for([3, 5])("%i members in namespaces", (count) => {
  test("a leader that is cut off steps down and another leads; healed, all see one history", async () => {
    await using network = await PartitionedNetwork.make(count);
    await using processes = await network.cluster(count);
    const clients = new Clients(processes);
    await clients.progress();
    const old = await processes.leader();
    await network.cut(around(old.id, count));
    await processes.leader(old.id);
    await stepsDown(old);
    await clients.progress(10);
    await network.heal();
    await clients.progress();
    await clients.stop();
  });

  test("a leader that is heard and hears nothing steps down; one that a single follower can't hear goes on", async () => {
    await using network = await PartitionedNetwork.make(count);
    await using processes = await network.cluster(count);
    const clients = new Clients(processes);
    await clients.progress();
    const deaf = await processes.leader();
    await network.cut(around(deaf.id, count).filter(([, to]) => to === deaf.id));
    await processes.leader(deaf.id);
    await stepsDown(deaf);
    await network.heal();
    await clients.progress();

    const leader = await processes.leader();
    const { term } = leader.leadership!;
    const follower = processes.alive().find(({ id }) => id !== leader.id)!;
    await network.cut([[leader.id, follower.id]]);
    await until("the follower misses it", () => follower.leadership?.leader === undefined);
    await clients.progress();
    expect((await processes.leader()).leadership).toMatchObject({ term, isLeader: true });
    expect((await processes.leader()).id).toBe(leader.id);
    await network.heal();
    await clients.progress();
    await clients.stop();
  });
});
