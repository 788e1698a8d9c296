/** The same question to many nodes, of which some may not answer. */
import { ApiError } from "@warren/api";
import { delay, type Clock } from "@warren/std";

export interface NodeAnswers<T> {
  readonly answers: readonly T[];
  /** Nodes that did not answer in time, by id, in order. */
  readonly unreachableNodes: string[];
}

/**
 * Asks all nodes at once. A node may hang without its session being lost, so none is waited for beyond `timeoutMs`. Any
 * failure but that of the way to a node fails the whole.
 */
export async function askNodes<T>(
  clock: Clock,
  timeoutMs: number,
  nodeIds: Iterable<string>,
  ask: (nodeId: string, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<NodeAnswers<T>> {
  const answers: T[] = [];
  const unreachableNodes: string[] = [];
  const inTime = new AbortController();
  const all = AbortSignal.any([signal, inTime.signal]);
  const late = Symbol("late");
  const asked = [...nodeIds].map(async (nodeId) => {
    try {
      const timer = delay(clock, timeoutMs, all).then(() => late);
      const answer = await Promise.race([ask(nodeId, all), timer]);
      if (typeof answer === "symbol") unreachableNodes.push(nodeId);
      else answers.push(answer);
    } catch (error) {
      if (signal.aborted || !isUnreachable(error)) throw error;
      unreachableNodes.push(nodeId);
    }
  });
  try {
    await Promise.all(asked);
  } finally {
    inTime.abort();
  }
  return { answers, unreachableNodes: unreachableNodes.sort() };
}

function isUnreachable(error: unknown): boolean {
  return ApiError.is(error, "API_UNAVAILABLE") || ApiError.is(error, "API_DEADLINE");
}
