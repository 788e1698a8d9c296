/**
 * The Linux kernel's network: links, addresses, routes, namespaces, tracked flows, and notifications of changes.
 *
 * - `netlink.ts`  openNetlink, and the named namespaces
 * - `types.ts`    parameters and results
 * - `errors.ts`   NetlinkError
 * - `testing/`    hosts for tests, as `@warren/netlink-napi/testing`
 * - `../native/`  the addon, in Rust
 */
export { openNetlink, changeNetns, createNetns, deleteNetns, isNetns, listNetns } from "./netlink.ts";
export { NetlinkError } from "./errors.ts";
export type {
  Address,
  Change,
  Datagram,
  FlowFilter,
  Link,
  LinkChange,
  Netlink,
  NetworkChange,
  Route,
  RouteKind,
  RouteSpec,
  RulesChange,
  TouchedTable,
  VethSpec,
  Watch,
} from "./types.ts";
