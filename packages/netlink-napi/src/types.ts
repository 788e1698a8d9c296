/** A network interface. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, …; absent for `lo` and hardware. */
  readonly kind?: string;
  /** Bytes. */
  readonly mtu: number;
  readonly up: boolean;
  readonly alias?: string;
  /** Index of a veth's other end, in that end's namespace. */
  readonly peerIndex?: number;
  readonly mac?: string;
}

export interface Address {
  readonly linkIndex: number;
  /** With its prefix: `10.0.0.1/24`. */
  readonly address: string;
}

export type RouteKind = "unicast" | "unreachable" | "blackhole";

/** A route of the main table. */
export interface Route {
  /** `10.0.0.0/8`; a default route is `0.0.0.0/0` or `::/0`. */
  readonly destination: string;
  readonly gateway?: string;
  readonly linkIndex?: number;
  /** Preferred source address. */
  readonly source?: string;
  readonly metric?: number;
  readonly kind: RouteKind;
}

export interface VethSpec {
  /** Name of the near end; at most 15 characters. */
  readonly name: string;
  readonly peerName: string;
  /** Path of the namespace that the far end is created in. @default the near end's */
  readonly peerNetns?: string;
  /** Bytes, of both ends. @default the kernel's, 1500 */
  readonly mtu?: number;
}

export interface LinkChange {
  readonly up?: boolean;
  /** A new name; the link must be down. */
  readonly name?: string;
  readonly mtu?: number;
  /** Free text kept with the link, at most 255 bytes. */
  readonly alias?: string;
}

export interface RouteSpec {
  /** A prefix, or an address for a route to it alone. */
  readonly destination: string;
  /** Without one the destination is on the link itself. */
  readonly gateway?: string;
  /** Name of the link. */
  readonly link?: string;
  readonly source?: string;
  readonly metric?: number;
  /** @default "unicast" */
  readonly kind?: RouteKind;
}

/** One change of several that are made in one call. */
export type NetworkChange =
  | { readonly veth: VethSpec }
  | { readonly link: string; readonly change: LinkChange }
  /** Adds the address to the link, as `addAddress` does. */
  | { readonly link: string; readonly address: string }
  /** As `putRoute`. */
  | { readonly route: RouteSpec }
  /** Writes the value if it differs from the present one. With `ifPresent`, not where the kernel has no such sysctl. */
  | { readonly sysctl: string; readonly value: string; readonly ifPresent?: boolean };

/** Which tracked IPv4 flows to end: those that meet every condition that is set. */
export interface FlowFilter {
  /** IP protocol number: 17 is UDP. */
  readonly protocol?: number;
  /** An address of either end: the caller's, the destination before translation, or that of the task that answers. */
  readonly end?: string;
  /** Where the caller sent to, before any translation. */
  readonly destination?: string;
  readonly destinationPort?: number;
  /** Only flows that were sent to an address of this machine. @default false */
  readonly toLocal?: boolean;
  /** Only flows of a caller within this subnet (`10.0.0.0/8`). */
  readonly sourceSubnet?: string;
  /** Only flows whose answers go to the caller's own address: their source is not translated. @default false */
  readonly sourceKept?: boolean;
  /** Only flows that are answered from outside of this subnet. */
  readonly answeredOutside?: string;
  /** Except flows that are answered by one of these addresses. */
  readonly exceptAnsweredBy?: readonly string[];
  /** Only flows with an end (see `end`) within this subnet that is none of `exceptEnds`. */
  readonly endWithin?: string;
  readonly exceptEnds?: readonly string[];
}

/** A change, after it happened. After `lost` some notifications were missed: read everything again. */
export type Change =
  | { readonly what: "new" | "deleted"; readonly link: Link }
  | { readonly what: "new" | "deleted"; readonly address: Address }
  | { readonly what: "new" | "deleted"; readonly route: Route }
  | { readonly what: "lost" };

/** One transaction on nftables, of any program, iptables-nft included. */
export type RulesChange =
  | { readonly what: "new"; readonly tables: readonly TouchedTable[] }
  | { readonly what: "lost" };

export interface TouchedTable {
  readonly name: string;
  /** Chains that the transaction added to the table. */
  readonly newChains: readonly string[];
}

export interface Watch extends Disposable {
  /** Idempotent. The listener is not called after it. */
  close(): void;
}

export interface Datagram {
  /** IPv4. */
  readonly address: string;
  readonly port: number;
  readonly payload: Uint8Array;
  /** This call itself receives the datagram, and answers with the sent bytes. @default another program answers */
  readonly answerer?: {
    /** Path of a namespace. @default this process's */
    readonly netns?: string;
    /** On every address there. */
    readonly port: number;
  };
  readonly timeoutMs: number;
}

/** The network of one namespace. All methods reject with `NetlinkError`. */
export interface Netlink {
  /** Path of its namespace: `/proc/self/ns/net` for this process's own. */
  readonly netns: string;
  /**
   * Makes changes in order, in one call instead of one each. The first that fails ends it and is named in the error;
   * those before it stay.
   */
  changeAll(changes: readonly NetworkChange[]): Promise<void>;
  links(): Promise<Link[]>;
  link(name: string): Promise<Link | undefined>;
  createVeth(spec: VethSpec): Promise<void>;
  changeLink(name: string, change: LinkChange): Promise<void>;
  /** A veth's other end is deleted with it. `ENODEV` if there is none. */
  deleteLink(name: string): Promise<void>;
  addresses(): Promise<Address[]>;
  /** Adds the address; no error if the link has it. IPv4 link-local addresses get link scope. */
  addAddress(link: string, address: string): Promise<void>;
  deleteAddress(link: string, address: string): Promise<void>;
  /** The main table, IPv4 and IPv6. */
  routes(): Promise<Route[]>;
  /** Adds, or replaces the route to the same destination with the same metric. */
  putRoute(spec: RouteSpec): Promise<void>;
  /** `ESRCH` if there is none. */
  deleteRoute(spec: RouteSpec): Promise<void>;
  /** `name` below `/proc/sys`, with slashes: `net/ipv4/ip_forward`. */
  readSysctl(name: string): Promise<string>;
  /** Writes, in order, each value that differs from the present one. */
  writeSysctls(values: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Ends tracked flows and resolves with their number; the next packet of each is checked by the rules as a new flow. The
   * kernel takes milliseconds to go through its table, so calls that come meanwhile share the next round, and its error.
   */
  deleteFlows(filters: readonly FlowFilter[]): Promise<number>;
  /**
   * Sends a datagram, every 200 ms until it is answered; whether it was, in time. Rejects with what it was refused by:
   * `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, `EPERM`, `EADDRINUSE` of the answerer.
   */
  exchange(datagram: Datagram): Promise<boolean>;
  /** Subscribed when it returns. The watch does not keep the process alive. */
  watch(groups: readonly ("link" | "address" | "route")[], listener: (change: Change) => void): Watch;
  /**
   * Runs commands of nft as one transaction, by nft's own library (libnftables), without a program; what `nft -f -` would
   * have ended with and written. Undefined where the machine has no such library.
   */
  runNft(
    commands: string,
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string } | undefined>;
  watchRules(listener: (change: RulesChange) => void): Watch;
}
