/**
 * Peers: the other ends of connections. A peer's identity is looked up at each call, so that a node or user that was
 * removed is refused at its next call.
 */
import type { X509Certificate } from "node:crypto";
import type { Identity, Refusal } from "../identity.ts";

export interface Peer {
  /** The remote address, for logs: `192.0.2.7:41234`, `local`. */
  readonly address: string;
  /** Whether the connection is from this machine's own socket, whose callers have no limits. */
  readonly local: boolean;
  identify(): Identity | Refusal;
  /** Whether an identity that this peer forwards is still valid. Called only if the peer is a manager. */
  confirm(identity: Identity): Refusal | undefined;
}

/**
 * Identities by the cluster's state as this manager has applied it. A certificate is a claim; the directory decides.
 */
export interface Directory {
  /**
   * The identity of the peer with this certificate chain, the leaf first; empty if it has no certificate. The peer has
   * proved that it has the leaf's key; nothing else about the chain was checked.
   */
  identify(chain: readonly X509Certificate[]): Identity | Refusal;
  /** Whether an identity that another manager forwards is still in the cluster. */
  confirm(identity: Identity): Refusal | undefined;
}

/**
 * The identity of every caller on the local socket: mode 0600, so root or the manager's own user. It is an operator and
 * the machine's own worker, and neither another node nor a manager. This one is for a machine that is not a node yet.
 */
export const localIdentity: Identity = Object.freeze({
  name: "local",
  roles: Object.freeze(["client", "worker"] as const),
});

/** @param nodeId looked up at each call, since a machine may become a node while its manager runs */
export function localPeer(nodeId: () => string | undefined): Peer {
  return {
    address: localIdentity.name,
    local: true,
    identify() {
      const id = nodeId();
      return id === undefined ? localIdentity : { ...localIdentity, nodeId: id };
    },
    confirm: () => ({ refused: "NOT_A_MANAGER", message: "callers on the local socket can't forward calls" }),
  };
}

/** A peer with a certificate, or without one. */
export function remotePeer(address: string, chain: readonly X509Certificate[], directory: Directory): Peer {
  return {
    address,
    local: false,
    identify: () => directory.identify(chain),
    confirm: (identity) => directory.confirm(identity),
  };
}
