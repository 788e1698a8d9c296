/** Room on the worker's disk that is kept back for its record. */
import type { Condition, NodeConditions } from "./conditions.ts";
import type { AgentState } from "./seams.ts";

/** Room on a disk, as `Ballast` of `@warren/daemon` keeps it. */
export interface KeptRoom {
  readonly held: boolean;
  /** False where there was none. */
  giveUp(): Promise<boolean>;
  /** False while there is too little for it. */
  layAside(): Promise<boolean>;
}

export interface KeptRoomOptions {
  readonly conditions: NodeConditions;
  /** Where the record is, for people. */
  readonly directory: string;
  /** Whether a write failed for want of room. */
  readonly isDiskFull: (error: unknown) => boolean;
}

/**
 * The same record, which gives up the room that is kept back when it can't be written for want of it, and keeps room back
 * again once there is enough. What is so is a condition of the node.
 */
export function onKeptRoom(
  state: AgentState,
  room: KeptRoom,
  { conditions, directory, isDiskFull }: KeptRoomOptions,
): AgentState {
  const report = (): void => conditions.set("disk", room.held ? [] : [lowDisk(directory)]);
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
          await room.giveUp();
          report();
        }
        throw error;
      }
      if (!room.held && (await room.layAside())) report();
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
