/** One seed: a history, and what came of it. */
import { UpdateConfig_FailureAction as Action, UpdateConfig_Order as Order } from "@warren/api";
import { seededRandom } from "@warren/std/testing";
import { chosen } from "./chance.ts";
import { History } from "./history.ts";
import { missing, unevenness } from "./rest.ts";
import { troubleKinds, type TroubleKind } from "./troubles.ts";
import { World } from "./world.ts";

export interface SeedResult {
  readonly seed: number;
  /** Containers that were started. */
  readonly starts: number;
  /** Restarts that were judged by their policy. */
  readonly restarts: number;
  /** Moves of which the slot's counts were compared before and after. */
  readonly moves: number;
  /** Commands that were applied. */
  readonly commands: number;
  /** What was broken; undefined if nothing was. */
  readonly violation: string | undefined;
  /** What happened, a line each; of a seed that broke nothing only where it was asked for. */
  readonly story: readonly string[];
}

export interface SeedOptions {
  readonly kinds?: readonly TroubleKind[];
  readonly withStory?: boolean;
}

/** Errors that troubles lead to. */
const expected: ReadonlySet<string> = new Set([
  "the manager sends no assignments",
  "a leader's work could not be started, and is retried",
  "a part of the worker's record was lost, and is fetched anew from the managers",
  "this node was removed from the cluster",
]);

/** How long what was asked for may take, once all is calm, ms. */
const convergenceMs = 1_800_000;

export async function runSeed(
  seed: number,
  { kinds = troubleKinds, withStory = false }: SeedOptions = {},
): Promise<SeedResult> {
  const chance = seededRandom(seed ^ 0x5eed);
  const world = await World.begin({ seed, managers: 1 + 2 * chance.int(2), edges: 2 + chance.int(2) });
  const history = new History(world);
  history.troubles.kinds = kinds;
  let violation: string | undefined;
  try {
    const steps = 10 + chance.int(30);
    const trouble = kinds.length === 0 ? 0 : chosen(chance, [0.2, 0.4, 0.6]);
    for (let step = 0; step < steps; step += 1) await history.step(trouble);
    await history.calm();
    await world.until(convergenceMs, () => missing(world));
    if (chance.int(4) === 0) await absence(world, history, chance.int(2) === 0);
    await evenness(world, history);
  } catch (error) {
    violation = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    if (!(error instanceof Error) || !/Violation|calm|absence/.test(violation))
      violation += `\n${(error as Error).stack}`;
  }
  const faults = world.log.errors.filter(({ event }) => !expected.has(event));
  if (violation === undefined && faults.length > 0)
    violation = `errors were logged: ${faults
      .slice(0, 3)
      .map(({ event, fields }) => `${event} ${text(fields)}`)
      .join("; ")}`;
  const { starts } = world.observer;
  const { judged: restarts, moved: moves } = world.observer.restarts;
  const commands = world.managers.entries.length;
  const story = violation !== undefined || withStory ? [...world.log.lines] : [];
  await world.close();
  return { seed, starts, restarts, moves, commands, violation, story };
}

/** No manager for an hour, others in their place perhaps: no container ends or starts that would not have done so anyway. */
async function absence(world: World, history: History, impostors: boolean): Promise<void> {
  const steady = (): string => {
    // By the container's own command: its service may want another by now.
    const ids = world.edges.flatMap((edge) => edge.running.filter((id) => edge.args(id)[0] !== "exit"));
    return ids.toSorted().join();
  };
  const before = steady();
  world.tell("the managers are away for an hour");
  world.managers.stop();
  await world.pass(600_000);
  if (impostors) history.troubles.impostors();
  await world.pass(3_000_000);
  history.troubles.end();
  if (!impostors) world.managers.elect(0, 0);
  await world.pass(120_000);
  if (steady() !== before) throw new Error(`an absence of the managers cost restarts: ${before} became ${steady()}`);
  await world.until(convergenceMs, () => missing(world));
}

/** A new service on nodes that are all well is spread evenly. */
async function evenness(world: World, history: History): Promise<void> {
  const task = { container: { image: "app:1", args: ["run"] } };
  const isMade = (): boolean => world.view.find("services", "name", "spread").length === 1;
  // A proposal may yet fail that was told to.
  for (let tries = 0; tries < 5 && !isMade(); tries += 1) {
    history.create("spread", world.edges.length * 2, task, { order: Order.STOP_FIRST, action: Action.PAUSE });
    await world.pass(40_000);
  }
  await world.until(60_000, () => [
    ...(isMade() ? missing(world) : ["spread is not made"]),
    ...unevenness(world, "spread"),
  ]);
}

function text(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(fields, (_key, value: unknown) =>
    value instanceof Error ? (value.stack ?? String(value)) : value,
  );
}
