import type { Filter, NodeView, World } from "../rules.ts";
import { andText, clip, listText, nameOf } from "../text.ts";
import type { NodeState, TaskState } from "../types.ts";

/** A filter of nodes that offer all the names that a task lists. */
function offers(
  name: string,
  one: string,
  wanted: (task: TaskState) => readonly string[] | undefined,
  offered: (node: NodeState) => readonly string[] | undefined,
): Filter {
  const missing = (task: TaskState, { state }: NodeView): string[] => {
    const there = offered(state);
    return (wanted(task) ?? []).filter((each) => there?.includes(each) !== true);
  };
  return {
    name,
    reads: "state",
    share(task) {
      const names = wanted(task);
      return names === undefined || names.length === 0 ? undefined : JSON.stringify(names);
    },
    check: (task) => ((wanted(task) ?? []).length === 0 ? undefined : (node) => missing(task, node).length === 0),
    explain(task, node) {
      const absent = missing(task, node);
      const lacks = listText(absent);
      return {
        text: `without ${one} of the task: ${nameOf(node)} lacks ${lacks}`,
        help: `offer ${andText(absent.map((each) => clip(each)))} on ${nameOf(node)}`,
        data: { missing: lacks },
      };
    },
    distance: (task, node) => missing(task, node).length,
  };
}

export const networks: Filter = offers(
  "networks",
  "a network",
  (task) => task.networks,
  (node) => node.networks,
);

export const volumes: Filter = offers(
  "volumes",
  "a volume",
  (task) => task.volumes,
  (node) => node.volumes,
);

/** A volume that lives on one node ties its tasks to that node. */
export const localVolumes: Filter = {
  name: "local-volumes",
  check({ localVolumes: names }, world) {
    if (names === undefined || names.length === 0) return undefined;
    return (node) => names.every((name) => isAtHome(name, node, world));
  },
  among({ localVolumes: names = [] }, world) {
    const homes = names.map((name) => world.volumeHomes(name)).find((each) => each.size > 0);
    return homes === undefined ? undefined : new Set(homes.keys());
  },
  wakeKeys: ({ localVolumes: names = [] }) => names.map((name) => `volume:${name}`),
  explain({ localVolumes: names = [] }, _node, world) {
    const placed = names.filter((name) => world.volumeHomes(name).size > 0);
    const homesText = (name: string): string => listText([...world.volumeHomes(name).keys()].map(nameOf).toSorted());
    const where = listText(placed.map((name) => `${name} is on ${homesText(name)}`));
    return {
      text: `away from the task's local volumes: ${where}`,
      data: { volumes: where },
    };
  },
  distance: ({ localVolumes: names = [] }, node, world) => names.filter((name) => !isAtHome(name, node, world)).length,
};

function isAtHome(name: string, node: NodeView, world: World): boolean {
  const homes = world.volumeHomes(name);
  return homes.size === 0 || homes.has(node);
}
