import { WarrenError } from "@warren/std";

export type LoadBalancerFailure =
  /** What was asked for makes no rules; nothing was changed. `field` is a path such as `services[2].backends[0].weight`. */
  | { readonly code: "LB_INVALID"; readonly field: string }
  /** A program was missing or refused the rules; what was there before still is. `output` is what it said. */
  | { readonly code: "LB_RULES_FAILED"; readonly program: string; readonly output: string }
  /** Neither nft nor iptables is installed. */
  | { readonly code: "LB_NO_BACKEND" };

export class LoadBalancerError extends WarrenError<LoadBalancerFailure> {}
