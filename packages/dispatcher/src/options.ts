export interface DispatcherOptions {
  /** Period of a node's heartbeats, ms. @default 5000 */
  readonly heartbeatMs?: number;
  /** Each period is drawn from `heartbeatMs` ± this, so that nodes' heartbeats spread, ms. @default 500 */
  readonly heartbeatJitterMs?: number;
  /** Consecutive missed heartbeats after which a node is down; twice as many after a change of leader. @default 3 */
  readonly missedHeartbeats?: number;
  /** Changes in one INCREMENTAL message. @default 100 */
  readonly batchChanges?: number;
  /** Least time between two messages of a stream that have no urgent change, ms. @default 100 */
  readonly batchMs?: number;
  /** The same for messages with an urgent change: of a lease, or a backend's removal. @default 10 */
  readonly urgentMs?: number;
  /** Time for a node to open the stream of a relay, ms. @default 10000 */
  readonly relayOpenMs?: number;
  /** Relays to one node at the same time. @default 256 */
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
