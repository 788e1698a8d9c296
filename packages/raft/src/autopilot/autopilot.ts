/** Carries out what `decide` says, one decision at a time, while the member beside it leads. */
import { errorText, silentLogger, systemClock, type Clock, type Logger, type Timer } from "@warren/std";

import type { ConfChangeSingle, NodeId } from "../core/index.ts";
import type { PeerState } from "../node/index.ts";
import { decide, resolveAutopilotOptions, type AutopilotOptions, type Decision, type ObservedPeer } from "./decide.ts";

/** What is used of a `RaftNode`. */
export interface AutopilotNode {
  onPeers(listener: (peers: readonly PeerState[]) => void): () => void;
  promote(id: NodeId): Promise<void>;
  remove(id: NodeId): Promise<void>;
  changeMembers(changes: readonly ConfChangeSingle[]): Promise<void>;
}

export interface Autopilot extends Disposable {
  /** What was decided last, while the member leads. */
  readonly decision: Decision | undefined;
  /** Decides nothing more; a change in progress goes on. Idempotent. */
  close(): void;
}

/**
 * Keeps the voters of `node`'s group as the options want them, from now until it is closed. Run it on every member: it
 * acts on the one that leads. A change that is refused or fails is logged and tried again after `stableMs`.
 *
 * @throws RaftError `RAFT_OPTIONS_INVALID`
 */
export function startAutopilot(
  {
    node,
    clock = systemClock,
    log = silentLogger,
  }: { readonly node: AutopilotNode; readonly clock?: Clock; readonly log?: Logger },
  options: AutopilotOptions = {},
): Autopilot {
  const resolved = resolveAutopilotOptions(options);
  let peers = new Map<NodeId, ObservedPeer>();
  let decision: Decision | undefined;
  let timer: Timer | undefined;
  /** A change is in progress. */
  let isActing = false;
  let retryAtMs = 0;
  let isClosed = false;

  const consider = (): void => {
    timer?.cancel();
    timer = undefined;
    if (isClosed || isActing) return;
    const nowMs = clock.monotonic();
    const before = decision;
    decision = peers.size === 0 ? undefined : decide([...peers.values()], nowMs, resolved);
    if (decision === undefined) return;
    if (decision.kind === "wait") {
      if (decision.why !== before?.why) log.info("autopilot waits", { why: decision.why });
      if (decision.untilMs !== undefined) timer = clock.setTimeout(consider, decision.untilMs - nowMs);
    } else if (nowMs < retryAtMs) {
      timer = clock.setTimeout(consider, retryAtMs - nowMs);
    } else {
      void act(decision);
    }
  };

  const act = async (what: Exclude<Decision, { kind: "wait" }>): Promise<void> => {
    isActing = true;
    try {
      log.info("autopilot changes the members", { ...what });
      await carryOut(node, what);
      for (const [id, isLearner] of outcome(what)) {
        const peer = peers.get(id);
        // Observed only at the next tick.
        if (isLearner === undefined) peers.delete(id);
        else if (peer !== undefined) peers.set(id, { ...peer, isLearner });
      }
    } catch (error) {
      retryAtMs = clock.monotonic() + resolved.stableMs;
      log.warn("the autopilot's change was not made", { ...what, error: errorText(error) });
    } finally {
      isActing = false;
    }
    consider();
  };

  const stop = node.onPeers((states) => {
    const nowMs = clock.monotonic();
    peers = new Map(states.map((state) => [state.id, observed(state, peers.get(state.id), nowMs)]));
    consider();
  });

  const close = (): void => {
    isClosed = true;
    timer?.cancel();
    stop();
  };
  return {
    get decision() {
      return decision;
    },
    close,
    [Symbol.dispose]: close,
  };
}

function observed(state: PeerState, before: ObservedPeer | undefined, nowMs: number): ObservedPeer {
  const since = (holds: boolean, sinceMs: number | undefined): number | undefined =>
    holds ? (sinceMs ?? nowMs) : undefined;
  return {
    ...state,
    silentSinceMs: since(!state.isHeard, before?.silentSinceMs),
    readySinceMs: since(state.isHeard && state.isCaughtUp, before?.readySinceMs),
  };
}

function carryOut(node: AutopilotNode, what: Exclude<Decision, { kind: "wait" }>): Promise<void> {
  switch (what.kind) {
    case "promote":
      return node.promote(what.id);
    case "remove":
      return node.remove(what.id);
    case "replace":
      return node.changeMembers([
        { type: "ConfChangeAddNode", nodeId: what.by },
        { type: "ConfChangeAddLearnerNode", nodeId: what.dead },
      ]);
  }
}

/** Whether each member is a learner after it; `undefined`: it is none any more. */
function outcome(what: Exclude<Decision, { kind: "wait" }>): readonly (readonly [NodeId, boolean | undefined])[] {
  switch (what.kind) {
    case "promote":
      return [[what.id, false]];
    case "remove":
      return [[what.id, undefined]];
    case "replace":
      return [
        [what.by, false],
        [what.dead, true],
      ];
  }
}
