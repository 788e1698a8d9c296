import { serially, type Logger } from "@warren/std";
import type { RaftNode } from "@warren/raft";

/** Runs what a leader runs while this manager leads. */
export function whileLeading(
  node: Pick<RaftNode, "leadership" | "onLeadership">,
  log: Logger,
  start: () => AsyncDisposable | Promise<AsyncDisposable>,
): AsyncDisposable {
  const inTurn = serially();
  let running: AsyncDisposable | undefined;
  let over = false;
  const follow = (): void =>
    void inTurn(async () => {
      const wanted = !over && node.leadership().isLeader;
      if (wanted && running === undefined) running = await start();
      if (wanted || running === undefined) return;
      const ending = running;
      running = undefined;
      await ending[Symbol.asyncDispose]();
    }).catch((error: unknown) => log.error("a leader's work could not be started or ended", { error }));
  const stop = node.onLeadership(follow);
  follow();
  return {
    async [Symbol.asyncDispose]() {
      over = true;
      stop();
      follow();
      await inTurn(async () => undefined);
    },
  };
}
