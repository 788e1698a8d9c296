import { WarrenError } from "@warren/std";

export type FirewallFailure =
  /** The program refused the rules; those that were applied before are in place. `output` is its standard error. */
  | { readonly code: "FIREWALL_RULES_FAILED"; readonly program: string; readonly output: string }
  /** Neither nft nor iptables is installed. */
  | { readonly code: "FIREWALL_NO_BACKEND" };

export class FirewallError extends WarrenError<FirewallFailure> {}
