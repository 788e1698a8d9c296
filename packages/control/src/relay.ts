import type {
  ExecOpen,
  ExecRequest,
  ExecResponse,
  LogLines,
  RegistryLogin,
  RelayImage,
  RelayImageAnswer,
  RelayLogs,
  RelayStats,
  StatsResponse,
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
  stats(nodeId: string, request: RelayStats, signal: AbortSignal): Promise<StatsResponse>;
  /** What an image reference leads to, as that node sees it. */
  image(nodeId: string, request: RelayImage, signal: AbortSignal): Promise<RelayImageAnswer>;
  /** Whether a registry accepted the login, as that node reaches it; false where it asks for none. */
  login(nodeId: string, request: RegistryLogin, signal: AbortSignal): Promise<boolean>;
}
