import type { Firewall } from "@warren/firewall";
import type { FlowFilter, Netlink } from "@warren/netlink-napi";
import { serially, silentLogger, type Logger } from "@warren/std";
import { AttachmentError } from "./errors.ts";
import { Interfaces } from "./interfaces.ts";
import { isolationTable, type Member } from "./isolation.ts";
import { checkRequest, resolveOptions } from "./options.ts";
import type { Attachment, AttachmentsOptions, AttachRequest, Reconciled, ResolvedOptions } from "./types.ts";

export interface AttachmentsDependencies {
  /** The node's network. */
  readonly netlink: Netlink;
  readonly firewall: Pick<Firewall, "apply" | "remove">;
  readonly log?: Logger;
}

/**
 * Readies the node and adopts what an earlier process left: of its attachments those that are `expected` stay as they
 * are, without a packet lost, and all others are removed.
 *
 * @throws AttachmentError `ATTACHMENT_INVALID`; NetlinkError
 */
export async function startAttachments(
  dependencies: AttachmentsDependencies,
  options: AttachmentsOptions,
  expected: readonly AttachRequest[],
): Promise<{ readonly attachments: Attachments; readonly reconciled: Reconciled }> {
  const attachments = new Attachments(dependencies, resolveOptions(options));
  await attachments.prepare();
  return { attachments, reconciled: await attachments.reconcile(expected) };
}

/** The interfaces of a node's tasks, and who reaches whom. */
export class Attachments {
  readonly #firewall: Pick<Firewall, "apply" | "remove">;
  readonly #netlink: Netlink;
  readonly #log: Logger;
  readonly #options: ResolvedOptions;
  readonly #interfaces: Interfaces;
  /** What was asked for, from before it is made: nobody else takes the address, and its rules wait for it. */
  readonly #known = new Map<string, AttachRequest>();
  #remote: readonly Member[] = [];
  /** One change to a task at a time; tasks go in parallel. */
  readonly #perTask = new Map<string, { readonly queue: ReturnType<typeof serially>; waiting: number }>();
  readonly #rules = serially();
  /** Counts what the rules depend on; rules that were rendered after a change have it. */
  #version = 0;
  #appliedVersion = -1;

  /** @internal `startAttachments` makes it. */
  constructor(dependencies: AttachmentsDependencies, options: ResolvedOptions) {
    this.#firewall = dependencies.firewall;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "attachment" });
    this.#netlink = dependencies.netlink;
    this.#options = options;
    this.#interfaces = new Interfaces(dependencies.netlink, options);
  }

  /** @internal */
  prepare(): Promise<void> {
    return this.#interfaces.prepare();
  }

  /**
   * Gives the task its interface. When it resolves packets flow and the isolation holds. Again with the same request
   * it completes what is missing; with other networks it changes who is reached.
   *
   * @throws AttachmentError `ATTACHMENT_INVALID`, `ATTACHMENT_ADDRESS_TAKEN`, `ATTACHMENT_FAILED`
   */
  attach(request: AttachRequest): Promise<Attachment> {
    checkRequest(request, this.#options);
    return this.#forTask(request.taskId, async () => {
      for (const other of this.#known.values()) {
        if (other.address !== request.address || other.taskId === request.taskId) continue;
        throw new AttachmentError(
          { code: "ATTACHMENT_ADDRESS_TAKEN", address: request.address, taskId: other.taskId },
          `address ${request.address} belongs to task ${other.taskId}: detach that first`,
        );
      }
      const before = this.#known.get(request.taskId);
      try {
        if (before !== undefined && before.address !== request.address) await this.#remove(request.taskId);
        this.#know(request);
        // What is still tracked under the address belongs to a task that had it before.
        if (before?.address !== request.address) await this.#netlink.deleteFlows([{ end: request.address }]);
        const attachment = await this.#interfaces.create(request);
        await this.#applyRules();
        return attachment;
      } catch (cause) {
        // A task that had its network keeps what it has.
        if (before?.address === request.address) this.#know(before);
        else await this.#remove(request.taskId);
        throw new AttachmentError(
          { code: "ATTACHMENT_FAILED", taskId: request.taskId },
          `cannot give task ${request.taskId} its network`,
          { cause },
        );
      }
    });
  }

  /** Takes the interface away, and the namespace if it is ours. Done already if there is none. */
  detach(taskId: string): Promise<void> {
    return this.#forTask(taskId, async () => {
      await this.#remove(taskId);
      await this.#applyRules();
    });
  }

  /** What is whole in the kernel now, whoever made it. */
  async list(): Promise<Attachment[]> {
    const whole = await this.#interfaces.list();
    return whole.map((attachment) => withPath(attachment, this.#known.get(attachment.taskId)));
  }

  /**
   * Makes `expected` all there is: adopts those that are whole, removes every other interface and namespace of ours.
   * Not to be called while `attach` or `detach` are under way.
   */
  async reconcile(expected: readonly AttachRequest[]): Promise<Reconciled> {
    for (const request of expected) checkRequest(request, this.#options);
    const whole = await this.#interfaces.list();
    const found = new Map(whole.map((attachment) => [attachment.taskId, attachment]));
    const adopted: Attachment[] = [];
    this.#known.clear();
    for (const request of expected) {
      const attachment = found.get(request.taskId);
      if (attachment?.address !== request.address) continue;
      this.#know(request);
      adopted.push(withPath(attachment, request));
    }
    this.#version += 1;
    await this.#applyRules();
    const removed = await this.#interfaces.removeOthers(new Set(this.#known.keys()));
    const ends = whole.map(({ address }) => address).filter((each) => !adopted.some(({ address }) => address === each));
    await this.#netlink.deleteFlows([...ends.map((end) => ({ end })), this.#untranslated]);
    const missing = expected.map(({ taskId }) => taskId).filter((taskId) => !this.#known.has(taskId));
    if (removed.length > 0) this.#log.info("removed what no task has", { removed });
    return { adopted, missing, removed };
  }

  /** Sets the tasks of other nodes that share a network with a task here; all of them, each time. */
  async setRemote(
    members: readonly { readonly address: string; readonly networks: readonly string[] }[],
  ): Promise<void> {
    this.#remote = structuredClone(members);
    this.#version += 1;
    await this.#applyRules();
  }

  /** Removes everything of ours from the node: interfaces, namespaces, rules, routes; forwarding is off if it was before us. */
  async removeAll(): Promise<void> {
    this.#known.clear();
    await this.#interfaces.removeOthers(new Set());
    await this.#interfaces.unprepare();
    await this.#rules(() => this.#firewall.remove("net"));
  }

  #know(request: AttachRequest): void {
    this.#known.set(request.taskId, request);
    this.#version += 1;
  }

  async #remove(taskId: string): Promise<void> {
    await this.#interfaces.remove(taskId);
    const known = this.#known.get(taskId);
    if (known === undefined) return;
    this.#known.delete(taskId);
    this.#version += 1;
    // After the interface, so that no packet begins another.
    await this.#netlink.deleteFlows([{ end: known.address }]);
  }

  async #forTask<T>(taskId: string, work: () => Promise<T>): Promise<T> {
    const task = this.#perTask.get(taskId) ?? { queue: serially(), waiting: 0 };
    this.#perTask.set(taskId, task);
    task.waiting += 1;
    try {
      return await task.queue(work);
    } finally {
      task.waiting -= 1;
      if (task.waiting === 0) this.#perTask.delete(taskId);
    }
  }

  /** Flows of tasks to the outside that began while there was no masquerade. */
  get #untranslated(): FlowFilter {
    const { taskPool } = this.#options;
    return { sourceSubnet: taskPool, sourceKept: true, answeredOutside: taskPool };
  }

  async #endUntranslated(): Promise<void> {
    const ended = await this.#netlink.deleteFlows([this.#untranslated]);
    if (ended > 0) this.#log.info("ended flows that left without translation", { ended });
  }

  /** Brings the rules up to now. Many calls at once share one transaction. */
  #applyRules(): Promise<void> {
    return this.#rules(async () => {
      if (this.#appliedVersion === this.#version) return;
      const version = this.#version;
      const { closedLinks } = this.#interfaces;
      const table = isolationTable([...this.#known.values()], this.#remote, this.#options, closedLinks);
      await this.#firewall.apply({ ...table, restored: () => this.#endUntranslated() });
      this.#appliedVersion = version;
    });
  }
}

/** The kernel does not know the path of a namespace that the caller made; the request does. */
function withPath(attachment: Attachment, request: AttachRequest | undefined): Attachment {
  return { ...attachment, netnsPath: request?.netnsPath ?? attachment.netnsPath };
}
