import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { NetlinkError, toNetlinkError } from "./errors.ts";
import type { Change, Datagram, FlowFilter, Netlink, NetworkChange, RulesChange, Watch } from "./types.ts";

/** The change that failed of several; its reason is that of an error of the addon. */
interface FailedChange {
  readonly at: number;
  readonly reason: string;
}

type Native = {
  [
    Name in Exclude<
      keyof Netlink,
      "netns" | "changeAll" | "deleteFlows" | "watch" | "watchRules" | "writeSysctls" | "exchange"
    >
  ]: Netlink[Name];
} & {
  changeAll(changes: readonly NetworkChange[]): Promise<FailedChange | null>;
  /** Of each group of filters, how many flows it ended. */
  deleteFlows(groups: readonly (readonly FlowFilter[])[]): Promise<number[]>;
  exchange(datagram: Omit<Datagram, "payload"> & { readonly payload: number[] }): Promise<boolean>;
  writeSysctls(values: { name: string; value: string }[]): Promise<void>;
  watch(groups: readonly string[], listener: (change: never) => void): { close(): void };
};

interface Addon {
  readonly Handle: new (netns?: string) => Native;
  createNetns(path: string): Promise<void>;
  changeNetns(path: string, changes: readonly NetworkChange[]): Promise<FailedChange | null>;
  deleteNetns(path: string): Promise<void>;
  isNetns(path: string): Promise<boolean>;
  listNetns(folder: string): Promise<string[]>;
}

/** Beside `src/` and `dist/`; `WARREN_NATIVE_DIR` names the folder where the executable unpacks its addons. */
function addonPath(): string {
  const file = `netlink.${process.platform}-${process.arch}-gnu.node`;
  const folder = process.env["WARREN_NATIVE_DIR"];
  return folder === undefined ? fileURLToPath(new URL(`../${file}`, import.meta.url)) : `${folder}/${file}`;
}

let loaded: Addon | undefined;

function addon(): Addon {
  if (loaded !== undefined) return loaded;
  const path = addonPath();
  try {
    loaded = createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new NetlinkError("ENOENT", `cannot load ${path}: build it with \`pnpm native\``, { cause });
  }
  return loaded;
}

async function translated<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toNetlinkError(doing, error);
  }
}

async function changed(
  where: string,
  changes: readonly NetworkChange[],
  call: () => Promise<FailedChange | null>,
): Promise<void> {
  if (changes.length === 0) return;
  const failed = await translated(`change the network of ${where}`, call);
  const change = failed === null ? undefined : changes[failed.at];
  if (failed !== null && change !== undefined) throw toNetlinkError(changeText(change), new Error(failed.reason));
}

/** What the change does, for an error. */
function changeText(change: NetworkChange): string {
  if ("veth" in change) return `create veth ${change.veth.name}`;
  if ("route" in change) return `set the route to ${change.route.destination}`;
  if ("sysctl" in change) return `write ${change.sysctl}`;
  return "address" in change ? `add ${change.address} to ${change.link}` : `change link ${change.link}`;
}

/**
 * The network of the namespace at `netns`, or of this process. It holds one socket, which is closed when it is garbage
 * collected.
 *
 * @throws NetlinkError `ENOENT` (no such namespace), `EPERM`
 */
export function openNetlink(netns?: string): Netlink {
  let native: Native;
  try {
    native = new (addon().Handle)(netns);
  } catch (error) {
    throw toNetlinkError(`open the network${netns === undefined ? "" : ` of ${netns}`}`, error);
  }
  const watch = (groups: readonly string[], listener: (change: never) => void): Watch => {
    let open = true;
    const inner = native.watch(groups, (change) => {
      if (open) listener(change);
    });
    const close = (): void => {
      open = false;
      inner.close();
    };
    return { close, [Symbol.dispose]: close };
  };
  // One request at a time on the socket. Further ones are queued here, so that they do not block libuv's few threads.
  let last: Promise<unknown> = Promise.resolve();
  const queued = <T>(doing: string, call: () => Promise<T>): Promise<T> => {
    const next = last.then(() => translated(doing, call));
    last = next.catch(() => undefined);
    return next;
  };
  let round: Promise<unknown> = Promise.resolve();
  /** The round through the kernel's flows that has not begun. */
  let nextRound: { readonly groups: (readonly FlowFilter[])[]; readonly counts: Promise<number[]> } | undefined;
  const joinRound = async (filters: readonly FlowFilter[]): Promise<number> => {
    if (nextRound === undefined) {
      const groups: (readonly FlowFilter[])[] = [];
      const counts = round.then(() => {
        nextRound = undefined;
        return native.deleteFlows(groups);
      });
      round = counts.catch(() => undefined);
      nextRound = { groups, counts };
    }
    const at = nextRound.groups.push(filters) - 1;
    return (await nextRound.counts)[at] ?? 0;
  };
  const where = netns ?? "/proc/self/ns/net";
  return {
    netns: where,
    changeAll(changes) {
      const next = last.then(() => changed(where, changes, () => native.changeAll(changes)));
      last = next.catch(() => undefined);
      return next;
    },
    links: () => queued("list links", () => native.links()),
    link: (name) => queued(`look for link ${name}`, async () => (await native.link(name)) ?? undefined),
    createVeth: (spec) => queued(`create veth ${spec.name}`, () => native.createVeth(spec)),
    changeLink: (name, change) => queued(`change link ${name}`, () => native.changeLink(name, change)),
    deleteLink: (name) => queued(`delete link ${name}`, () => native.deleteLink(name)),
    addresses: () => queued("list addresses", () => native.addresses()),
    addAddress: (link, address) => queued(`add ${address} to ${link}`, () => native.addAddress(link, address)),
    deleteAddress: (link, address) => queued(`take ${address} from ${link}`, () => native.deleteAddress(link, address)),
    routes: () => queued("list routes", () => native.routes()),
    putRoute: (spec) => queued(`set the route to ${spec.destination}`, () => native.putRoute(spec)),
    deleteRoute: (spec) => queued(`delete the route to ${spec.destination}`, () => native.deleteRoute(spec)),
    readSysctl: (name) => translated(`read ${name}`, () => native.readSysctl(name)),
    writeSysctls: (values) =>
      translated(`write ${Object.keys(values).join(", ")}`, () =>
        native.writeSysctls(Object.entries(values).map(([name, value]) => ({ name, value }))),
      ),
    deleteFlows: (filters) => translated("end flows", () => joinRound(filters)),
    exchange: (datagram) =>
      translated(`send to ${datagram.address} port ${datagram.port}`, () =>
        native.exchange({ ...datagram, payload: [...datagram.payload] }),
      ),
    runNft: async (commands) => (await translated("run commands of nft", () => native.runNft(commands))) ?? undefined,
    watch: (groups, listener: (change: Change) => void) => watch(groups, listener),
    watchRules: (listener: (change: RulesChange) => void) => watch(["rules"], listener),
  };
}

/** Creates a namespace that lives as long as the mount at `path`, whose folder must exist. `EEXIST` if there is one. */
export function createNetns(path: string): Promise<void> {
  return translated(`create namespace ${path}`, () => addon().createNetns(path));
}

/**
 * As `Netlink.changeAll`, of the namespace at `path`, which nothing else is asked of: it holds no socket afterwards.
 *
 * @throws NetlinkError `ENOENT` (no such namespace), `EPERM`, and those of the changes
 */
export function changeNetns(path: string, changes: readonly NetworkChange[]): Promise<void> {
  return changed(path, changes, () => addon().changeNetns(path, changes));
}

/** Unmounts and removes `path`; the namespace ends with its last process. No error if nothing is there. */
export function deleteNetns(path: string): Promise<void> {
  return translated(`delete namespace ${path}`, () => addon().deleteNetns(path));
}

/** Whether a namespace is mounted at `path`. */
export function isNetns(path: string): Promise<boolean> {
  return translated(`look at ${path}`, () => addon().isNetns(path));
}

/** Paths of the namespaces mounted in `folder`, sorted; none if there is no folder. */
export function listNetns(folder: string): Promise<string[]> {
  return translated(`list namespaces in ${folder}`, () => addon().listNetns(folder));
}
