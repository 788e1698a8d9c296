/** IPv4 subnet of which each node gets a /24 for its tasks, where the cluster's spec names none. */
export const defaultTaskPool = "10.77.0.0/16";

/** IPv4 subnet of services' addresses, where the cluster's spec names none. */
export const defaultVipPool = "10.96.0.0/16";
