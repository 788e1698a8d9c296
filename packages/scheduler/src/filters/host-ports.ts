import type { Filter } from "../rules.ts";
import { portsOf } from "../state/ports.ts";
import { andText, listText, nameOf } from "../text.ts";

/** No other task holds a host port that the task needs. */
export const hostPorts: Filter = {
  name: "host-ports",
  reads: "node",
  share: (task) => (task.hostPorts === undefined || task.hostPorts.length === 0 ? undefined : portsOf(task).join()),
  check(task) {
    const ports = portsOf(task);
    return ports.length === 0 ? undefined : (node) => ports.every((port) => !node.hostPorts.has(port));
  },
  room: () => 1,
  explain(task, node) {
    const inUse = portsOf(task).filter((port) => node.hostPorts.has(port));
    const taken = listText(inUse);
    return {
      text: `with a host port in use: ${taken} on ${nameOf(node)}`,
      help: `free ${andText(inUse)} on ${nameOf(node)}, or publish another port`,
      data: { ports: taken },
    };
  },
  distance: (task, node) => portsOf(task).filter((port) => node.hostPorts.has(port)).length,
};
