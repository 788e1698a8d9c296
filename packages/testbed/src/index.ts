/**
 * Hosts for tests on one machine: namespaces joined by a switch, with faults.
 *
 * - `testbed.ts`  Testbed: makes the hosts, the switch and the registry, and removes them
 * - `host.ts`     Host: runs programs in it, ends and freezes daemons, cuts its power
 * - `network-switch.ts`  the switch: ports, which of them hear each other, and slow wires
 * - `router.ts`   home routers, with hosts behind them
 * - `registry.ts` the registry of all hosts
 * - `programs.ts` the `warren` of hosts, with a wall clock of its own where asked
 * - `cgroups.ts`  removes what is left of hosts' cgroups
 * - `namespaces.ts`  processes that hold namespaces
 * - `state.ts`    what is known of a test bed between two commands
 */
export { startTestbed, Testbed } from "./testbed.ts";
export type { TestbedOptions } from "./testbed.ts";
export { Host } from "./host.ts";
export type { Victim } from "./host.ts";
export type { Slow } from "./network-switch.ts";
export type { Nat } from "./router.ts";
export { TestbedError } from "./errors.ts";
