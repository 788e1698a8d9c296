export interface DispatcherOptions {
  /** Between two heartbeats of a node, ms. @default 5000 */
  readonly heartbeatMs?: number;
  /** Each period is drawn from the one above plus or minus this, so that nodes' heartbeats don't fall together, ms. @default 500 */
  readonly heartbeatJitterMs?: number;
  /** Heartbeats that may be missed in a row before a node is down. After a change of leader twice as many. @default 3 */
  readonly missedHeartbeats?: number;
  /** Changes in one INCREMENTAL message. @default 100 */
  readonly batchChanges?: number;
  /** How long changes that are not urgent are gathered behind the message before, ms. The first after a rest goes at once. @default 100 */
  readonly batchMs?: number;
  /** The same for urgent changes: of leases, and of backends that leave. @default 10 */
  readonly urgentMs?: number;
  /** How long a node has to answer when something is wanted of it, ms. @default 10000 */
  readonly relayOpenMs?: number;
  /** Relays of one node at once. @default 256 */
  readonly maxRelaysPerNode?: number;
}

/** Checks options and fills in defaults. @throws RangeError */
export function resolveOptions(options: DispatcherOptions): Required<DispatcherOptions> {
  const resolved = {
    heartbeatMs: 5_000,
    heartbeatJitterMs: 500,
    missedHeartbeats: 3,
    batchChanges: 100,
    batchMs: 100,
    urgentMs: 10,
    relayOpenMs: 10_000,
    maxRelaysPerNode: 256,
    ...options,
  };
  for (const [option, value] of Object.entries(resolved)) {
    const lowest = option.endsWith("Ms") && option !== "heartbeatMs" ? 0 : 1;
    if (!Number.isFinite(value) || value < lowest)
      throw new RangeError(`dispatcher option ${option} is ${value}; it must be ${lowest} or more`);
  }
  if (resolved.heartbeatJitterMs >= resolved.heartbeatMs)
    throw new RangeError("dispatcher option heartbeatJitterMs must be less than heartbeatMs");
  return Object.freeze(resolved);
}
