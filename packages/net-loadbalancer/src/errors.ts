import { WarrenError } from "@warren/std";

/** A service or option is invalid; nothing was changed. `field` is a path such as `services[2].backends[0].weight`. */
export type LoadBalancerFailure = { readonly code: "LB_INVALID"; readonly field: string };

export class LoadBalancerError extends WarrenError<LoadBalancerFailure> {}
