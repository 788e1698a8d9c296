import type { TaskState } from "../types.ts";

const none: readonly string[] = [];

/** The host ports of a task, as `80/tcp`. */
export function portsOf({ hostPorts }: TaskState): readonly string[] {
  return hostPorts === undefined ? none : hostPorts.map(({ port, protocol }) => `${port}/${protocol}`);
}
