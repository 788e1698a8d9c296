import { forwardedMetadata, type LeaderConnection } from "../forwarding.ts";
import { until } from "../stream.ts";
import type { Peer } from "./peer.ts";
import type { Pipeline } from "./pipeline.ts";

/**
 * A connection to another pipeline in the same process, for tests and simulations with several managers.
 *
 * @param peer the calling manager, as a peer of that pipeline
 */
export function pipelineConnection(pipeline: Pipeline, peer: Peer): LeaderConnection {
  return {
    async *call(call) {
      const { path, requests, signal, deadlineMs } = call;
      const metadata = new Map(forwardedMetadata(call));
      const answer = pipeline.call({
        path,
        peer,
        requests,
        metadata: (key) => metadata.get(key),
        signal,
        deadlineMs,
      });
      yield* until(answer.messages, answer.cut);
      answer.cut.throwIfAborted();
    },
  };
}
