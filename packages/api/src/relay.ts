import type { NodeImage } from "./generated/warren/v1/image.ts";
import type { Volume } from "./generated/warren/v1/volume.ts";
import type {
  RegistryLogin,
  RelayImage,
  RelayImageAnswer,
  RelayLogs,
  RelayStats,
} from "./generated/warren/v1/dispatcher.ts";
import type {
  ExecOpen,
  ExecRequest,
  ExecResponse,
  LogLines,
  PortForwardOpen,
  PortForwardRequest,
  PortForwardResponse,
  StatsResponse,
} from "./generated/warren/v1/task.ts";

/**
 * What a manager asks of a node on behalf of a caller: of the runs that the node still has, and of what it reaches.
 *
 * A call throws ApiError: `API_UNAVAILABLE` if the node has no session, loses it, or does not answer; `API_CANCELLED` if
 * `signal` is aborted after it began; else what the node itself answers, with its code, fields and remedy. It ends its
 * work on the node when it ends: at its last answer, when `signal` is aborted, when its answers are no longer read. Answers
 * are read from the node only as fast as they are taken here.
 */
export interface Relay {
  /** Lines of all the tasks that are named, by time; with `follow` as they come. Ends when all of them have ended. */
  logs(nodeId: string, request: RelayLogs, signal: AbortSignal): AsyncIterable<LogLines>;
  /**
   * `open.ref` is the task's id. `input` is what the caller sends after `open`; its end is not the end of the process's
   * stdin, which `stdinEnd` is.
   */
  exec(
    nodeId: string,
    open: ExecOpen,
    input: AsyncIterable<ExecRequest>,
    signal: AbortSignal,
  ): AsyncIterable<ExecResponse>;
  /** One connection to a port of a task. `open.ref` is the task's id, `input` what the caller sends after `open`. */
  portForward(
    nodeId: string,
    open: PortForwardOpen,
    input: AsyncIterable<PortForwardRequest>,
    signal: AbortSignal,
  ): AsyncIterable<PortForwardResponse>;
  stats(nodeId: string, request: RelayStats, signal: AbortSignal): Promise<StatsResponse>;
  /** What an image reference leads to, as that node sees it. */
  image(nodeId: string, request: RelayImage, signal: AbortSignal): Promise<RelayImageAnswer>;
  /** Whether a registry accepted the login, as that node reaches it; false where it asks for none. */
  login(nodeId: string, request: RegistryLogin, signal: AbortSignal): Promise<boolean>;
  /** The node's named volumes. */
  volumes(nodeId: string, signal: AbortSignal): Promise<readonly Volume[]>;
  deleteVolume(nodeId: string, name: string, signal: AbortSignal): Promise<void>;
  /** The node's images. */
  images(nodeId: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
  /** Removes the node's unused images, and resolves with those. */
  pruneImages(nodeId: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
}
