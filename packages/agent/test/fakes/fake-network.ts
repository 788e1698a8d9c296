import type { Endpoint } from "@warren/api";
import type { NetworkSettings, TaskAttachment, TaskNetwork } from "../../src/index.ts";

/** A node's network, which outlives the processes that set it. */
export class FakeNetwork {
  readonly attached: Map<string, TaskAttachment> = new Map();
  endpoints: readonly Endpoint[] = [];
  /** All that was ever applied, in order. */
  readonly history: (readonly Endpoint[])[] = [];
  settings: NetworkSettings | undefined;
  /** What the next calls fail with. */
  readonly failures: { call: "open" | "attach" | "detach" | "setEndpoints"; message: string }[] = [];
  /** Set: applications wait for it. */
  hold: Promise<void> | undefined;
  overlaps = 0;
  #applying = false;
  #next = 2;

  connect(): TaskNetwork {
    return {
      open: async (settings, expected) => {
        await this.#turn("open");
        this.settings = settings;
        const wanted = new Map(expected.map((each) => [each.id, each]));
        for (const [id, { address, netnsPath }] of this.attached)
          if (wanted.get(id)?.address !== address || wanted.get(id)?.netnsPath !== netnsPath) this.attached.delete(id);
        return { adopted: [...this.attached.keys()] };
      },
      attach: async (task) => {
        await this.#turn("attach");
        if (this.settings === undefined) throw new Error("attach before open");
        const taken = new Set([...this.attached.values()].map(({ address }) => address));
        const own = this.attached.get(task.id)?.address ?? task.address;
        taken.delete(this.attached.get(task.id)?.address ?? "");
        const address = own !== undefined && !taken.has(own) ? own : this.#fresh(taken);
        this.attached.set(task.id, { ...task, address });
        return { address };
      },
      detach: async (taskId) => {
        await this.#turn("detach");
        this.attached.delete(taskId);
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

  /** Addresses of a service that get new connections. */
  serving(serviceId: string): string[] {
    const endpoint = this.endpoints.find((each) => each.serviceId === serviceId);
    return (endpoint?.backends ?? []).filter(({ draining }) => !draining).map(({ address }) => address);
  }

  async #turn(call: (typeof this.failures)[number]["call"]): Promise<void> {
    await Promise.resolve();
    const at = this.failures.findIndex((failure) => failure.call === call);
    if (at < 0) return;
    const [failure] = this.failures.splice(at, 1);
    throw new Error(failure?.message);
  }

  #fresh(taken: ReadonlySet<string>): string {
    for (;;) {
      const address = `10.77.1.${this.#next}`;
      this.#next = (this.#next % 250) + 2;
      if (!taken.has(address)) return address;
    }
  }
}
