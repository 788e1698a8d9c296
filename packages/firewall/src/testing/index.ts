/**
 * For tests of what takes a `Firewall`, and of a `Firewall` itself.
 *
 * - `fake-firewall.ts`     FakeFirewall: tables in memory
 * - `firewall-contract.ts` the cases that every Firewall passes
 */
export { FakeFirewall, type FakeFirewallOptions } from "./fake-firewall.ts";
export { firewallContract, type FirewallUnderTest } from "./firewall-contract.ts";
