/** Room on the worker's disk that is kept back for its record. */
import type { AgentState, Condition, NodeConditions } from "@warren/agent";
import { isDiskFull, type Ballast } from "@warren/daemon";

/**
 * The same record, which gives up the room that is kept back when it can't be written for want of it, and keeps room back
 * again once there is enough. What is so is a condition of the node.
 */
export function onKeptRoom(
  state: AgentState,
  ballast: Pick<Ballast, "held" | "giveUp" | "layAside">,
  { conditions, directory }: { readonly conditions: NodeConditions; readonly directory: string },
): AgentState {
  const report = (): void => conditions.set("disk", ballast.held ? [] : [lowDisk(directory)]);
  report();
  return {
    nodeId: state.nodeId,
    opened: state.opened,
    lost: state.lost,
    identify: (...identity) => state.identify(...identity),
    load: () => state.load(),
    async write(changes) {
      try {
        await state.write(changes);
      } catch (error) {
        if (isDiskFull(error)) {
          await ballast.giveUp();
          report();
        }
        throw error;
      }
      if (!ballast.held && (await ballast.layAside())) report();
    },
    close: () => state.close(),
  };
}

function lowDisk(directory: string): Condition {
  return {
    code: "DISK_LOW",
    message: `the disk of ${directory} is full, or nearly: the room that the worker keeps back for its record is in use`,
    remedy: `make room: du -xh ${directory} | sort -h | tail shows what takes it, and ended services' volumes are in ${directory}/volumes`,
  };
}
