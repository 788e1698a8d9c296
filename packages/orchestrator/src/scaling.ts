/**
 * Which slots a service gives up, and which numbers new ones get.
 */
import { Health } from "@warren/api";
import type { SlotReading } from "./slots.ts";
import { isRunning } from "./task.ts";

export interface Resize {
  /** Slot numbers. */
  readonly remove: readonly number[];
  readonly add: readonly number[];
}

/**
 * New slots get the lowest numbers that are free. Given up are, in this order: slots in which nothing runs, unhealthy
 * ones, those that are to leave their node, those still on an earlier spec, one from the node that has most of the
 * service, and the highest numbers.
 */
export function resize(occupied: readonly SlotReading[], replicas: number): Resize {
  if (occupied.length <= replicas) {
    const taken = new Set(occupied.map(({ slot }) => slot.number));
    const add: number[] = [];
    for (let number = 1; taken.size + add.length < replicas; number += 1) if (!taken.has(number)) add.push(number);
    return { remove: [], add };
  }
  const remove = inOrderOfLoss(occupied).slice(0, occupied.length - replicas);
  return { remove: remove.map(({ slot }) => slot.number).toSorted((a, b) => a - b), add: [] };
}

/** The first to go first. A slot counts as one of as many on its node as are left when it goes. */
function inOrderOfLoss(readings: readonly SlotReading[]): SlotReading[] {
  const byMerit = readings.toSorted((a, b) => compare(merits(a), merits(b)) || b.slot.number - a.slot.number);
  const onNode = new Map<string, number>();
  const beside = new Map<SlotReading, number>();
  for (const reading of byMerit.toReversed()) {
    const nodeId = reading.keeper?.nodeId ?? "";
    const count = nodeId === "" ? 0 : (onNode.get(nodeId) ?? 0) + 1;
    onNode.set(nodeId, count);
    beside.set(reading, count);
  }
  return byMerit.toSorted(
    (a, b) =>
      compare(merits(a), merits(b)) || (beside.get(b) ?? 0) - (beside.get(a) ?? 0) || b.slot.number - a.slot.number,
  );
}

function merits({ keeper, displaced, current }: SlotReading): number[] {
  return [
    keeper !== undefined && isRunning(keeper) ? 1 : 0,
    keeper?.status?.container?.health === Health.UNHEALTHY ? 0 : 1,
    displaced.length > 0 ? 0 : 1,
    current ? 1 : 0,
  ];
}

/** By the first numbers that differ. */
function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
