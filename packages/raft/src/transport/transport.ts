import type { Message, NodeId } from "../core/index.ts";
import type { SnapshotReader, SnapshotSource } from "../storage/index.ts";

/** A member as others find it. */
export interface Member {
  readonly id: NodeId;
  /** What the transport dials, for gRPC `HOST:PORT`. */
  readonly address: string;
}

/** What a member says of itself to the others, for the program around them: names and short texts. */
export type Tags = Readonly<Record<string, string>>;

/** Bytes of all tags of a member, as JSON: they travel with each connection. */
export const maxTagsBytes = 1_024;

/** What is wrong with tags, if anything. */
export function tagsProblem(tags: unknown): string | undefined {
  if (typeof tags !== "object" || tags === null || Array.isArray(tags)) return "is no object";
  for (const [name, value] of Object.entries(tags)) if (typeof value !== "string") return `has no text under ${name}`;
  const bytes = Buffer.byteLength(JSON.stringify(tags));
  return bytes > maxTagsBytes ? `has ${bytes} bytes as JSON, and ${maxTagsBytes} are the most` : undefined;
}

/** Who a connection is from; checked before anything of it is read. */
export interface Hello {
  readonly clusterId: string;
  readonly from: NodeId;
  readonly incarnation: string;
  /** Levels that its program reads, and the one that it writes now. */
  readonly minLevel: number;
  readonly level: number;
  readonly activeLevel: number;
  /** Where others find the sender, once it knows itself; a member that joins answers there. */
  readonly address?: string | undefined;
  readonly tags?: Tags | undefined;
}

/** One side's refusal to speak with the other. */
export interface PeerRefusal {
  /** The other side, as far as it said who it is. */
  readonly peer: NodeId | undefined;
  /** `here`: this member refused it. `there`: it refused this member. */
  readonly by: "here" | "there";
  readonly why: string;
}

/** Part of the reason for refusing a member that comes back under its id without its log; that member stops at it. */
export const wipedReason = "it lost its log";

/** The node's side of a transport. */
export interface TransportHandler {
  readonly hello: Hello;
  /** A frame of the active level. */
  encode(messages: readonly Message[]): Buffer;
  /** @throws RaftError `RAFT_WIRE_INVALID`, `RAFT_LEVEL_UNREADABLE` */
  decode(frame: Uint8Array): Message[];
  /** Resolves to why a peer is refused, or `undefined`. */
  admit(peer: Hello): Promise<string | undefined>;
  /** A peer was refused, or refused this member. */
  refused(refusal: PeerRefusal): void;
  receive(messages: readonly Message[]): void;
  /** Takes a snapshot that `message` announces. Reads `source` at its own pace; rejects if it can't keep it. */
  receiveSnapshot(message: Message, source: SnapshotSource): Promise<void>;
  unreachable(peer: NodeId): void;
}

/**
 * Carries messages between members. May lose, delay, repeat and reorder them; never alters one, and never repeats a
 * `MsgProp`, which would be applied twice. A peer's process is admitted before anything of it is handed on, each anew; one
 * that is refused, or whose admission failed, is asked again.
 */
export interface Transport {
  start(handler: TransportHandler): Promise<void>;
  /** Bytes of the largest message that it carries, encoded. @default any */
  readonly maxMessageBytes?: number;
  /** Why an address can't be dialled at all; `undefined` if it can. @default any can */
  addressProblem?(address: string): string | undefined;
  /**
   * The members there are, and where; others are disconnected. Never throws: a member whose address can't be dialled is
   * one that can't be reached.
   */
  setPeers(peers: readonly Member[]): void;
  /** Sends the messages of one turn. Never blocks; what can't be sent is dropped and its target reported unreachable. */
  send(messages: readonly Message[]): void;
  /**
   * Streams what the peer lacks of a snapshot behind its `MsgSnap`, keeping no chunk once it asks for the next; resolves
   * when the peer has it.
   *
   * @throws RaftError `RAFT_PEER_UNREACHABLE` where it does not get it, whatever the reason, which is the cause
   */
  sendSnapshot(message: Message, snapshot: SnapshotReader): Promise<void>;
  /** Abrupt: what is on its way may be lost, snapshots fail, and the handler is not called any more. Idempotent. */
  close(): Promise<void>;
}
