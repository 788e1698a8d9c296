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
 * Prepares the node and adopts the attachments of an earlier process: those that are `expected` stay as they are, without
 * a lost packet, and all others are removed.
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

/** The network interfaces of a node's tasks, and the isolation between networks. */
export class Attachments {
  readonly #firewall: Pick<Firewall, "apply" | "remove">;
  readonly #netlink: Netlink;
  /**
   * Addresses of the node's subnet that no task has, and that may have tracked flows all the same: those whose flows could
   * not be ended when their task went. Undefined before `reconcile`: each may.
   */
  #unclean: Set<string> | undefined;
  readonly #log: Logger;
  readonly #options: ResolvedOptions;
  readonly #interfaces: Interfaces;
  /** Requests, each added before its interface is created: its address is reserved, and its rules are in place first. */
  readonly #known = new Map<string, AttachRequest>();
  #remote: readonly Member[] = [];
  /** One change to a task at a time; tasks go in parallel. */
  readonly #perTask = new Map<string, { readonly queue: ReturnType<typeof serially>; waiting: number }>();
  readonly #rules = serially();
  /** Incremented at each change of what the rules depend on. */
  #version = 0;
  #appliedVersion = -1;

  /** @internal Created by `startAttachments`. */
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
   * Creates the task's interface. When it resolves packets flow and the isolation is in place. Called again with the same
   * request it completes what is missing; with other networks it changes the isolation.
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
        // Flows that are still tracked under the address belong to a task that had it before.
        if (before?.address !== request.address && this.#mayHaveFlows(request.address))
          await this.#netlink.deleteFlows([{ end: request.address }]);
        const attachment = await this.#interfaces.create(request);
        await this.#applyRules();
        return attachment;
      } catch (cause) {
        // An attachment that was complete before stays as it is.
        if (before?.address === request.address) this.#know(before);
        else await this.#remove(request.taskId);
        throw new AttachmentError(
          { code: "ATTACHMENT_FAILED", taskId: request.taskId },
          `cannot attach task ${request.taskId} to its networks`,
          { cause },
        );
      }
    });
  }

  /** Removes the interface, and the namespace if we created it. Idempotent. */
  detach(taskId: string): Promise<void> {
    return this.#forTask(taskId, async () => {
      await this.#remove(taskId);
      await this.#applyRules();
    });
  }

  /** The attachments that are complete in the kernel now, of this process or an earlier one. */
  async list(): Promise<Attachment[]> {
    const whole = await this.#interfaces.list();
    return whole.map((attachment) => withPath(attachment, this.#known.get(attachment.taskId)));
  }

  /**
   * Adopts the expected attachments that are complete and removes all our other interfaces and namespaces. Must not be
   * called while `attach` or `detach` are under way.
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
    const ofNobody = { endWithin: this.#options.nodeSubnet, exceptEnds: adopted.map(({ address }) => address) };
    await this.#netlink.deleteFlows([ofNobody, this.#untranslated]);
    this.#unclean = new Set();
    const missing = expected.map(({ taskId }) => taskId).filter((taskId) => !this.#known.has(taskId));
    if (removed.length > 0) this.#log.info("removed interfaces and namespaces of no expected task", { removed });
    return { adopted, missing, removed };
  }

  /** Sets the tasks of other nodes that share a network with a task of this node; replaces those of the last call. */
  async setRemote(
    members: readonly { readonly address: string; readonly networks: readonly string[] }[],
  ): Promise<void> {
    this.#remote = structuredClone(members);
    this.#version += 1;
    await this.#applyRules();
  }

  /** Removes all our interfaces, namespaces, rules and routes from the node, and turns forwarding off if we turned it on. */
  async removeAll(): Promise<void> {
    this.#known.clear();
    this.#unclean = undefined;
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
    this.#unclean?.add(known.address);
    // After the interface, so that no packet begins a new flow.
    await this.#netlink.deleteFlows([{ end: known.address }]);
    this.#unclean?.delete(known.address);
  }

  /** Looking for them takes the kernel longer than all else that it does for a task. */
  #mayHaveFlows(address: string): boolean {
    return this.#unclean === undefined || this.#unclean.has(address);
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

  /** Ends flows of tasks to the outside that began while there was no masquerade rule. */
  get #untranslated(): FlowFilter {
    const { taskPool } = this.#options;
    return { sourceSubnet: taskPool, sourceKept: true, answeredOutside: taskPool };
  }

  async #endUntranslated(): Promise<void> {
    const ended = await this.#netlink.deleteFlows([this.#untranslated]);
    if (ended > 0) this.#log.info("ended flows that left without translation", { ended });
  }

  /** Applies the current rules. Concurrent calls share one transaction. */
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

/** The path of a namespace that the caller created is not in the kernel; it is taken from the request. */
function withPath(attachment: Attachment, request: AttachRequest | undefined): Attachment {
  return { ...attachment, netnsPath: request?.netnsPath ?? attachment.netnsPath };
}
