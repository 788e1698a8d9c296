/**
 * A whole cluster in one process, by a seed: managers as apps/manager joins them (control, orchestrator, dispatcher, each
 * on a real store), workers as apps/worker runs them, and between them the dispatcher's protocol. What is simulated is
 * around these: time, chance, the log between managers, the way from worker to manager, machines with their containers,
 * networks and disks. `observer.ts` watches what must hold at every moment, `rest.ts` what must hold once all is calm,
 * `history.ts` has what befalls it.
 */
import { fakeProgram } from "./programs.ts";
import { FakeClock, seededRandom } from "@warren/std/testing";
import type { Random } from "@warren/std";
import { StoreError, type View } from "@warren/store";
import { ApiError } from "@warren/api";
import { Edge } from "./edge.ts";
import { Managers, operator, type Operator } from "./managers.ts";
import { Observer } from "./observer.ts";
import { Story } from "./story.ts";

/** Turns of the event loop for what follows without time passing. */
const turns = 3;

export interface Shape {
  readonly seed: number;
  readonly managers: number;
  readonly edges: number;
}

export class World {
  readonly seed: number;
  readonly clock: FakeClock = new FakeClock();
  readonly random: Random;
  readonly log: Story;
  readonly managers: Managers;
  readonly edges: readonly Edge[];
  readonly observer: Observer;
  /** Managers that answer in the place of the cluster's own. */
  impostors: Managers | undefined;
  /** Where their history ends that is the cluster's own. */
  impostorsKnow: number = 0;
  readonly #calls = new Set<Promise<void>>();

  constructor({ seed, managers, edges }: Shape) {
    this.seed = seed;
    this.random = seededRandom(seed);
    this.log = new Story(() => this.clock.monotonic());
    const { clock, random, log } = this;
    this.observer = new Observer(clock, () => this.edges);
    this.managers = new Managers(
      managers,
      { clock, random, log },
      { onApplied: (view) => this.observer.onApplied(view) },
    );
    this.edges = Array.from(
      { length: edges },
      (_, at) =>
        new Edge(`edge-${at + 1}`, {
          clock,
          random,
          log,
          route: (edge) => this.#route(edge)?.leader?.dispatcher,
          onStart: (edge, process) => {
            this.tell(
              `  ${edge.name} starts ${process.container.labels?.["warren.slot-id"]}/${process.container.labels?.["warren.epoch"]}, life ${process.container.labels?.["warren.life"]} run ${process.container.labels?.["warren.run"]}`,
            );
            this.observer.onStart(edge, process);
            fakeProgram(edge, process);
          },
          onExit: (edge, id, code) => this.observer.onExit(edge, id, code),
          onEnd: (edge, id) => {
            this.tell(
              `  ${edge.name} ends ${edge.label(id, "slot-id")}/${edge.label(id, "epoch")} run ${edge.label(id, "run")}`,
            );
            this.observer.onEnd(edge, id);
          },
        }),
    );
  }

  /** A cluster with a leader and all its nodes. */
  static async begin(shape: Shape): Promise<World> {
    const world = new World(shape);
    world.managers.elect(0, 0);
    await world.pass(100);
    await world.managers.found();
    for (const edge of world.edges) edge.start();
    await world.pass(5_000);
    return world;
  }

  get view(): View {
    const { view } = this.observer;
    if (view === undefined) throw new Error("nothing is stored yet");
    return view;
  }

  tell(what: string): void {
    this.log.tell(what);
  }

  /** Time passes, with everything that falls due on the way. @throws Violation */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    await this.#turn();
    while (this.clock.monotonic() < end) {
      const next = Math.min(this.clock.nextAt ?? end, end);
      this.clock.advance(Math.max(0, next - this.clock.monotonic()));
      await this.#turn();
      const [violation] = this.observer.violations;
      if (violation !== undefined) throw violation;
    }
  }

  /** Lets time pass until `what` says nothing is missing. @throws Error with what was still missing */
  async until(mostMs: number, what: () => readonly string[]): Promise<void> {
    let missing: readonly string[] = [];
    for (let passed = 0; passed <= mostMs; passed += 1_000) {
      missing = what();
      if (missing.length === 0) return;
      await this.pass(1_000);
    }
    throw new Error(`after ${mostMs / 1_000} s of calm: ${missing.join("; ")}`);
  }

  /** An operator calls the API, and does not wait for the answer. */
  call(what: string, work: (operator: Operator) => unknown): void {
    const { leader } = this.managers;
    if (leader === undefined) return;
    this.tell(what);
    const call = (async (): Promise<void> => {
      try {
        await work(operator(leader, new AbortController().signal));
      } catch (error) {
        if (!ApiError.is(error) && !StoreError.is(error)) throw error;
        this.tell(`  refused: ${what}: ${error.message}`);
      }
    })();
    this.#calls.add(call);
    call
      .catch((error: unknown) => this.observer.broken(`${what} failed: ${String(error)}`))
      .finally(() => this.#calls.delete(call));
  }

  async close(): Promise<void> {
    this.impostors?.stop();
    this.managers.stop();
    await Promise.all([
      ...this.edges.map((edge) => edge.close()),
      this.managers[Symbol.asyncDispose](),
      this.impostors?.[Symbol.asyncDispose](),
    ]);
  }

  /**
   * A node whose last applied point the impostors have accepts them, rightly: it can't know better. So such a node is
   * not routed to them, nor one whose last applied point may not be on its disk yet.
   */
  #route({ link: { lastApplied } }: Edge): Managers | undefined {
    if (this.impostors === undefined) return this.managers;
    const isAhead = lastApplied !== undefined && lastApplied.version > this.impostorsKnow;
    return isAhead && this.clock.monotonic() - lastApplied.at > 1_000 ? this.impostors : undefined;
  }

  async #turn(): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
