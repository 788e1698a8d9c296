import type { NetworkSettings, NodeBackend, NodeEndpoint, TaskAttachment, TaskNetwork } from "../seams.ts";

/** A node's network, which outlives worker processes. */
export class FakeNetwork {
  readonly attached: Map<string, TaskAttachment> = new Map();
  /** Addresses whose flows were removed, in order. */
  readonly flowsRemoved: string[] = [];
  endpoints: readonly NodeEndpoint[] = [];
  /** All applied endpoints, in order. */
  readonly history: (readonly NodeEndpoint[])[] = [];
  settings: NetworkSettings | undefined;
  /** Errors of the next calls. */
  readonly failures: { call: "open" | "attach" | "detach" | "setEndpoints"; message: string }[] = [];
  /** Called with the expected attachments of each `open`. */
  onOpen: ((expected: readonly TaskAttachment[]) => void) | undefined;
  /** `setEndpoints` waits for it. */
  hold: Promise<void> | undefined;
  overlaps = 0;
  #applying = false;

  connect(): TaskNetwork {
    return {
      open: async (settings, expected) => {
        await this.#turn("open");
        this.settings = settings;
        this.onOpen?.(expected);
        const wanted = new Map(expected.map((each) => [each.id, each]));
        for (const [id, { address, netnsPath }] of this.attached)
          if (wanted.get(id)?.address !== address || wanted.get(id)?.netnsPath !== netnsPath) this.attached.delete(id);
        return { adopted: [...this.attached.keys()] };
      },
      attach: async (task) => {
        await this.#turn("attach");
        if (this.settings === undefined) throw new Error("attach before open");
        const other = [...this.attached.values()].find(({ id, address }) => id !== task.id && address === task.address);
        if (other !== undefined) throw new Error(`address ${task.address} belongs to task ${other.id}`);
        this.attached.set(task.id, task);
      },
      detach: async (taskId, address) => {
        await this.#turn("detach");
        this.attached.delete(taskId);
        this.flowsRemoved.push(address);
      },
      setEndpoints: async (endpoints) => {
        if (this.#applying) this.overlaps += 1;
        this.#applying = true;
        try {
          await this.hold;
          await this.#turn("setEndpoints");
          this.endpoints = structuredClone(endpoints);
          this.history.push(this.endpoints);
        } finally {
          this.#applying = false;
        }
      },
    };
  }

  backends(serviceId: string): readonly NodeBackend[] {
    return this.endpoints.find((each) => each.serviceId === serviceId)?.backends ?? [];
  }

  /** Addresses of a service that get new connections. */
  serving(serviceId: string): string[] {
    return this.backends(serviceId)
      .filter(({ draining }) => !draining)
      .map(({ address }) => address);
  }

  async #turn(call: (typeof this.failures)[number]["call"]): Promise<void> {
    await Promise.resolve();
    const at = this.failures.findIndex((failure) => failure.call === call);
    if (at < 0) return;
    const [failure] = this.failures.splice(at, 1);
    throw new Error(failure?.message);
  }
}
