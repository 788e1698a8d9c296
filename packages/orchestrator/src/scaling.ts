/**
 * Which slots a service gives up, and which numbers new ones get.
 */
import { Health } from "@warren/api";
import { slotNumber } from "@warren/api/model";
import { runs, type SlotReading } from "./slots.ts";

export interface Resize {
  /** Slots that are given up. */
  readonly remove: readonly SlotReading[];
  /** Numbers of slots that are wanted from now on. */
  readonly add: readonly number[];
}

/**
 * New slots get the lowest numbers that are free. Given up are, in this order: slots in which nothing runs, or that are on
 * a node that is down, unhealthy
 * ones, those that are to leave their node, those not of the wanted version, one from the node that has most of the
 * service, and the highest numbers.
 */
export function resize(wanted: readonly SlotReading[], replicas: number): Resize {
  if (wanted.length <= replicas) {
    const taken = new Set(wanted.map(numberOf));
    const add: number[] = [];
    for (let number = 1; taken.size + add.length < replicas; number += 1) if (!taken.has(number)) add.push(number);
    return { remove: [], add };
  }
  const remove = inOrderOfLoss(wanted).slice(0, wanted.length - replicas);
  return { remove: remove.toSorted((a, b) => numberOf(a) - numberOf(b)), add: [] };
}

/** The first to go first. A slot counts as one of as many on its node as are left when it goes. */
function inOrderOfLoss(readings: readonly SlotReading[]): SlotReading[] {
  const ranked = new Map(readings.map((reading) => [reading, merits(reading)]));
  const byMerit = (a: SlotReading, b: SlotReading): number => compare(ranked.get(a) ?? [], ranked.get(b) ?? []);
  const last = readings.toSorted((a, b) => byMerit(a, b) || numberOf(b) - numberOf(a));
  const onNode = new Map<string, number>();
  const beside = new Map<SlotReading, number>();
  for (const reading of last.toReversed()) {
    const nodeId = reading.leading?.nodeId ?? "";
    const count = nodeId === "" ? 0 : (onNode.get(nodeId) ?? 0) + 1;
    onNode.set(nodeId, count);
    beside.set(reading, count);
  }
  return last.toSorted(
    (a, b) => byMerit(a, b) || (beside.get(b) ?? 0) - (beside.get(a) ?? 0) || numberOf(b) - numberOf(a),
  );
}

function merits(reading: SlotReading): number[] {
  const serving = reading.current ?? reading.incoming;
  const task = reading.taskOf(serving);
  const where = serving === undefined ? "none" : reading.displacementOf(serving).kind;
  const stays = where !== "must-go" && where !== "lost";
  return [
    // Of a node that is down nobody knows whether its tasks run.
    runs(reading, serving) && where !== "grace" && where !== "lost" ? 1 : 0,
    task?.status?.container?.health === Health.UNHEALTHY ? 0 : 1,
    stays ? 1 : 0,
    reading.upToDate ? 1 : 0,
  ];
}

function numberOf({ slot }: SlotReading): number {
  return slotNumber(slot.key);
}

/** By the first numbers that differ. */
function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
