import { mkdir, open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import {
  NetlinkError,
  createNetns,
  deleteNetns,
  openNetlink,
  type Datagram,
  type Netlink,
  type RulesChange,
} from "@warren/netlink-napi";
import {
  ipv4Text,
  parseIpv4Subnet,
  serially,
  silentLogger,
  systemClock,
  type Clock,
  type Logger,
  type Timer,
} from "@warren/std";
import type { Attachments } from "./attachments.ts";
import { tolerating } from "./interfaces.ts";
import { defaultGateway } from "./options.ts";

/**
 * A way that packets of tasks take through the node.
 *
 * - `names`: from a task to the node's name server
 * - `services`: from a task to a service's address
 * - `tasks`: to a task's own address, as another task calls it
 * - `published`: from outside to a task, translated on the way as a published port is
 */
export type PathName = "names" | "services" | "tasks" | "published";

/** `dropped`: no answer came. `refused`: an answer said no. */
export interface BlockedPath {
  readonly path: PathName;
  readonly how: "dropped" | "refused";
}

/** The probe's own task: attached like any other, and on a network of its own. */
const probeTask = "warren-probe";
/** The port that the probe's own ends answer on. */
const port = 2_379;
/**
 * The node's end of the pair that represents the outside, and its subnet: of 192.0.0.0/24, which is for protocols and on no
 * LAN (RFC 6890). Subnets for documentation are in use on some machines, whose gateway the node's end would then hide.
 */
const outsideLink = "warren-probe";
const outside = { subnet: "192.0.0.240/30", host: "192.0.0.241", far: "192.0.0.242" } as const;
/** How long the kernel may take; nothing leaves the machine, so that this is for a busy one. */
const kernelMs = 1_000;
/** The same where the name server, which shares this process's event loop, has to answer. */
const namesMs = 3_000;
/** From a change of the rules to the probe: rules change in bursts. */
const settleMs = 500;

/** A question for `probe.warren`, which the name server answers by itself (RFC 1035 §4.1). */
const question = Buffer.from("a11c010000010000000000000570726f62650677617272656e0000010001", "hex");

export interface PathProbeDependencies {
  /** The node's network. */
  readonly netlink: Netlink;
  /** With `PathProbe.outsideSubnet` among those that are trusted. */
  readonly attachments: Pick<Attachments, "attach">;
  readonly clock?: Clock;
  readonly log?: Logger;
}

export interface PathProbeOptions {
  readonly nodeSubnet: string;
  readonly vipPool: string;
  /** Where the name server answers on port 53. @default "169.254.1.1" */
  readonly gateway?: string;
  /** For a moment two namespaces are mounted in it. It is made if it is missing. */
  readonly folder: string;
}

/** A namespace that lives as long as this process holds it. */
interface HeldNetns {
  readonly path: string;
  readonly handle: FileHandle;
}

/**
 * Finds out by packets what rules of other programs keep from tasks: sent from a namespace of our own, on the ways that
 * tasks' packets take. Looks after `first()`, and after each change of nftables that is not ours.
 *
 * The kernel does not notify of changes by iptables-legacy: those are found at the next look.
 */
export class PathProbe implements AsyncDisposable {
  /** Of the probe's task: the last of the node's subnet, which no task is given. */
  readonly address: string;
  /** To be balanced to `address`: the last of the pool, which no service is given. */
  readonly vip: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ways: Readonly<Record<PathName, { readonly from: string; readonly datagram: Omit<Datagram, "payload"> }>>;
  readonly #held: AsyncDisposableStack;
  readonly #onBlocked: (blocked: readonly BlockedPath[]) => void;
  readonly #one = serially();
  readonly #watch: { close(): void };
  #timer: Timer | undefined;
  #looked = false;
  #closed = false;

  /** What stands for the outside; to be trusted by isolation, since it calls the probe's task by its own address. */
  static readonly outsideSubnet: string = outside.subnet;

  /**
   * Attaches a task of its own, and makes what stands for the outside; both go with the process. `onBlocked` is called with
   * the outcome of each look.
   *
   * @throws AttachmentError, NetlinkError
   */
  static async start(
    dependencies: PathProbeDependencies,
    options: PathProbeOptions,
    onBlocked: (blocked: readonly BlockedPath[]) => void,
  ): Promise<PathProbe> {
    const { netlink, attachments } = dependencies;
    await using held = new AsyncDisposableStack();
    const hold = async (name: string): Promise<HeldNetns> => {
      const netns = await holdNetns(options.folder, name);
      held.defer(() => netns.handle.close());
      return netns;
    };
    const [task, far] = [await hold("task"), await hold("outside")];
    const address = lastOf(options.nodeSubnet);
    await attachments.attach({ taskId: probeTask, address, networks: [probeTask], netnsPath: task.path });
    await makeOutside(netlink, far.path);
    return new PathProbe(dependencies, options, onBlocked, { task, far, held: held.move() });
  }

  private constructor(
    { netlink, clock = systemClock, log = silentLogger }: PathProbeDependencies,
    { nodeSubnet, vipPool, gateway = defaultGateway }: PathProbeOptions,
    onBlocked: (blocked: readonly BlockedPath[]) => void,
    { task, far, held }: { readonly task: HeldNetns; readonly far: HeldNetns; readonly held: AsyncDisposableStack },
  ) {
    this.#held = held;
    this.address = lastOf(nodeSubnet);
    this.vip = lastOf(vipPool);
    const answered = { port, answerer: { netns: task.path, port }, timeoutMs: kernelMs };
    this.#ways = {
      names: { from: task.path, datagram: { address: gateway, port: 53, timeoutMs: namesMs } },
      services: { from: task.path, datagram: { address: this.vip, ...answered } },
      tasks: { from: far.path, datagram: { address: this.address, ...answered } },
      published: { from: far.path, datagram: { address: this.vip, ...answered } },
    };
    this.#clock = clock;
    this.#log = log.child({ component: "path-probe" });
    this.#onBlocked = onBlocked;
    this.#watch = netlink.watchRules((change) => {
      if (isForeign(change)) this.#lookSoon();
    });
  }

  /** Looks once for this process, when the task is attached and its address balanced; later changes are noticed. */
  first(): void {
    if (this.#looked) return;
    this.#looked = true;
    this.#lookSoon();
  }

  /** Stops looking, and lets its namespaces go, with the interfaces in them. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#watch.close();
    this.#timer?.cancel();
    await this.#one(() => this.#held.disposeAsync());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #lookSoon(): void {
    // Not postponed by further changes, as another program may change rules all the time.
    if (this.#closed || !this.#looked) return;
    this.#timer ??= this.#clock.setTimeout(() => {
      this.#timer = undefined;
      void this.#one(() => this.#look());
    }, settleMs);
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    try {
      const blocked: BlockedPath[] = [];
      for (const path of ["names", "services", "tasks", "published"] as const) {
        // Twice, as a packet may be late on a busy machine; what rules do, they do again.
        const how = (await this.#try(path)) && (await this.#try(path));
        if (how !== undefined) blocked.push({ path, how });
      }
      if (!this.#closed) this.#onBlocked(blocked);
    } catch (error) {
      if (!this.#closed) this.#log.warn("what rules keep from tasks could not be looked at", { error });
    }
  }

  async #try(path: PathName): Promise<BlockedPath["how"] | undefined> {
    const { from, datagram } = this.#ways[path];
    try {
      return (await openNetlink(from).exchange({ ...datagram, payload: question })) ? undefined : "dropped";
    } catch (error) {
      if (NetlinkError.is(error, "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EPERM", "EACCES")) return "refused";
      throw error;
    }
  }
}

async function holdNetns(folder: string, name: string): Promise<HeldNetns> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `.probe-${name}`);
  // One that an earlier process was about to let go.
  await deleteNetns(path);
  await createNetns(path);
  try {
    const handle = await open(path);
    return { handle, path: `/proc/self/fd/${handle.fd}` };
  } finally {
    await deleteNetns(path);
  }
}

async function makeOutside(netlink: Netlink, netns: string): Promise<void> {
  // The kernel may not have removed the one of an earlier process yet.
  await tolerating(["ENODEV"], netlink.deleteLink(outsideLink));
  await netlink.createVeth({ name: outsideLink, peerName: "eth0", peerNetns: netns });
  await netlink.writeSysctls({ [`net/ipv4/conf/${outsideLink}/forwarding`]: "1" });
  await netlink.addAddress(outsideLink, `${outside.host}/30`);
  await netlink.changeLink(outsideLink, { up: true });
  const far = openNetlink(netns);
  await far.changeLink("lo", { up: true });
  await far.addAddress("eth0", `${outside.far}/30`);
  await far.changeLink("eth0", { up: true });
  await far.putRoute({ destination: "0.0.0.0/0", gateway: outside.host });
}

/** Whether another program may have changed rules that packets of tasks meet. */
function isForeign(change: RulesChange): boolean {
  return change.what === "lost" || change.tables.some(({ name }) => !name.startsWith("warren_"));
}

function lastOf(subnet: string): string {
  const parsed = parseIpv4Subnet(subnet);
  if (parsed === undefined) throw new Error(`assertion failed: ${subnet} is a subnet`);
  return ipv4Text(parsed.first + parsed.size - 1);
}
