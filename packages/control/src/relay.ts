import type {
  ExecOpen,
  ExecRequest,
  ExecResponse,
  LogLines,
  NodeImage,
  PortForwardOpen,
  PortForwardRequest,
  PortForwardResponse,
  RelayImage,
  RelayImageAnswer,
  RelayLogs,
  RelayStats,
  StatsResponse,
  Volume,
} from "@warren/api";

/**
 * The way to what a node knows by itself. The dispatcher is one: it asks over the node's session, and the node opens a
 * stream back.
 *
 * Every call fails with ApiError `API_UNAVAILABLE` if the node has no session or loses it, and ends its work on the node
 * when `signal` is aborted or its answers are no longer read.
 */
export interface Relay {
  /** Lines of all the tasks that are named, by time; with `follow` as they come. Ends when all of them have ended. */
  logs(nodeId: string, request: RelayLogs, signal: AbortSignal): AsyncIterable<LogLines>;
  /** `open.ref` is the task's id. `input` is what the caller sends after `open`. */
  exec(
    nodeId: string,
    open: ExecOpen,
    input: AsyncIterable<ExecRequest>,
    signal: AbortSignal,
  ): AsyncIterable<ExecResponse>;
  /** The same of a connection to a port. */
  portForward(
    nodeId: string,
    open: PortForwardOpen,
    input: AsyncIterable<PortForwardRequest>,
    signal: AbortSignal,
  ): AsyncIterable<PortForwardResponse>;
  stats(nodeId: string, request: RelayStats, signal: AbortSignal): Promise<StatsResponse>;
  /** What an image reference leads to, as that node sees it. */
  image(nodeId: string, request: RelayImage, signal: AbortSignal): Promise<RelayImageAnswer>;
  volumes(nodeId: string, signal: AbortSignal): Promise<readonly Volume[]>;
  deleteVolume(nodeId: string, name: string, signal: AbortSignal): Promise<void>;
  images(nodeId: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
  /** Resolves with the images that were removed. */
  pruneImages(nodeId: string, signal: AbortSignal): Promise<readonly NodeImage[]>;
}
