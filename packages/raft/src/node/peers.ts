/** Who the others are: members that the log names, whoever else found this one, and those that are refused. */
import type { Logger } from "@warren/std";

import type { NodeId } from "../core/index.ts";
import { unfit, type Levels } from "../levels.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Hello, Member, Transport } from "../transport/transport.ts";

export interface PeersParts {
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly log: Logger;
  /** Members as of what is applied. */
  readonly members: () => ReadonlyMap<NodeId, Member>;
  readonly levels: Levels;
  readonly activeLevel: () => number;
  readonly fail: (error: unknown) => void;
}

export class Peers {
  private readonly parts: PeersParts;
  private readonly self: NodeId;
  /** Known beside the log: by `join`, or since they found this member. */
  private readonly acquaintances: Map<NodeId, Member>;

  constructor(parts: PeersParts, join: readonly Member[]) {
    this.parts = parts;
    this.self = parts.storage.identity.nodeId;
    this.acquaintances = new Map(join.map((member) => [member.id, member]));
  }

  /** As this member introduces itself, with its address once the log has told it. */
  hello(): Hello {
    const { storage, members, levels, activeLevel } = this.parts;
    const { clusterId, incarnation } = storage.identity;
    const { minLevel, level } = levels;
    const { self } = this;
    return {
      clusterId,
      incarnation,
      from: self,
      minLevel,
      level,
      get activeLevel() {
        return activeLevel();
      },
      get address() {
        return members().get(self)?.address;
      },
    };
  }

  /** Why a peer is refused, if it is. */
  async admit(peer: Hello): Promise<string | undefined> {
    const { clusterId, from, incarnation, address } = peer;
    const { storage, members, levels, activeLevel, log, fail } = this.parts;
    if (clusterId !== storage.identity.clusterId) return `it belongs to cluster ${clusterId}`;
    const misfit = unfit(from, peer, activeLevel(), levels);
    if (misfit !== undefined) return misfit;
    // It comes again when it knows; without an address it would never hear an answer.
    if (address === undefined && !members().has(from) && !this.acquaintances.has(from)) {
      return `nobody here knows the address of member ${from} yet`;
    }
    let known: boolean;
    try {
      known = await storage.rememberPeer(from, incarnation);
    } catch (error) {
      fail(error);
      throw error;
    }
    if (!known) {
      log.warn("member refused: it lost its log and came back under its old id", { peer: from });
      return `member ${from} lost its log; remove it and add it again under a new id`;
    }
    // One whose log is behind does not know all members, its leader perhaps, and answers whoever finds it.
    if (address !== undefined && !members().has(from)) {
      this.acquaintances.set(from, { id: from, address });
      this.connect();
    }
    return undefined;
  }

  /** The log names other members than before. */
  changed(members: readonly Member[], removed: readonly NodeId[]): void {
    const { storage, fail } = this.parts;
    for (const { id } of members) this.acquaintances.delete(id);
    for (const id of removed) this.acquaintances.delete(id);
    this.connect();
    for (const id of removed) storage.forgetPeer(id).catch(fail);
  }

  /** Tells the transport whom to connect. */
  connect(): void {
    const peers = new Map([...this.acquaintances, ...this.parts.members()]);
    peers.delete(this.self);
    this.parts.transport.setPeers([...peers.values()]);
  }
}
