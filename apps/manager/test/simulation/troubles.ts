/** What breaks, for a while, and is well again. */
import type { ProposerFault } from "@warren/store/testing";
import type { MemoryDisk } from "@warren/agent/testing";
import { chosen, drawn } from "./chance.ts";
import type { Edge } from "./edge.ts";
import { Managers } from "./managers.ts";
import type { World } from "./world.ts";

export const troubleKinds = [
  "cut",
  "reset",
  "elect",
  "managers-away",
  "impostors",
  "proposal-fails",
  "hold-back",
  "kill-worker",
  "pause-worker",
  "set-record-back",
  "lose-record",
  "power-cut",
  "wrong-wall-clock",
  "managers-wall-clock",
  "runtime-away",
] as const;
export type TroubleKind = (typeof troubleKinds)[number];

/** From the last trouble until what it delayed is done, ms. */
const calmMs = 10_000;

export class Troubles {
  readonly #world: World;
  /** Kinds that happen here. */
  kinds: readonly TroubleKind[] = troubleKinds;
  /** What heals what lasts now. */
  readonly #healing = new Map<string, () => void>();
  /** When one began or was healed. */
  #lastTrouble = 0;
  readonly #images = new Map<Edge, ReturnType<MemoryDisk["image"]>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** One of them begins, and heals by itself after a while. */
  begin(): void {
    const { random, edges, clock } = this.#world;
    this.#begin(chosen(random, this.kinds), chosen(random, edges));
    this.#lastTrouble = clock.monotonic();
    for (const each of edges) if (random.int(4) === 0) this.#images.set(each, each.disk.image());
  }

  /** All that lasts is healed. */
  end(): void {
    for (const heal of Array.from(this.#healing.values())) heal();
  }

  /** Machines whose node was removed give up their worker's data, and join as new nodes. */
  joinAnew(): void {
    const { edges, view } = this.#world;
    for (const edge of edges) {
      if (this.#healing.has(`worker ${edge.name}`) || view.get("removedNodes", edge.nodeId ?? "") === undefined)
        continue;
      this.#world.tell(`${edge.name} joins as a new node`);
      this.#images.delete(edge);
      edge.joinAnew();
    }
  }

  impostors(): void {
    const { random, clock, log, managers } = this.#world;
    const kind = drawn(random, [
      ["empty", 1],
      ["older", 2],
      ["other", 1],
    ] as const);
    const { entries } = managers;
    const kept = kind === "older" ? entries.slice(0, 3 + random.int(Math.max(1, entries.length - 3))) : [];
    this.#lasting(`managers that are ${kind} take their place`, "managers", [2_000, 90_000], () => {
      managers.stop();
      const impostors = new Managers(1, { clock, random, log }, { entries: kept });
      this.#world.impostors = impostors;
      this.#world.impostorsKnow = kept.at(-1)?.index ?? 0;
      impostors.elect(0, 0);
      if (kind === "other") void impostors.found();
      return () => {
        impostors.stop();
        this.#world.impostors = undefined;
        void impostors[Symbol.asyncDispose]();
        managers.elect(random.int(managers.count), 0);
      };
    });
  }

  #begin(kind: TroubleKind, edge: Edge): void {
    const { random, managers, edges } = this.#world;
    const { name } = edge;
    switch (kind) {
      case "cut": {
        const silent = random.int(2) === 0;
        return this.#lasting(`${name} is cut off${silent ? " silently" : ""}`, `link ${name}`, [500, 120_000], () => {
          if (edge.isOn) edge.link.cut(silent);
          return () => edge.isOn && edge.link.join();
        });
      }
      case "reset":
        this.#world.tell(`connections of ${name} break`);
        return edge.link.reset();
      case "elect": {
        if (this.#healing.has("managers")) return;
        const [index, noticeMs] = [random.int(managers.count), chosen(random, [0, 0, 500, 5_000])];
        this.#world.tell(`manager ${index} is elected; the one before learns of it ${noticeMs} ms later`);
        return managers.elect(index, noticeMs);
      }
      case "managers-away":
        return this.#lasting("no manager leads", "managers", [1_000, 100_000], () => {
          managers.stop();
          return () => managers.elect(random.int(managers.count), 0);
        });
      case "impostors":
        // A node that lost its last applied point is not protected from managers that lost it too.
        return edges.some(({ astray }) => astray) ? undefined : this.impostors();
      case "proposal-fails": {
        const faults: readonly ProposerFault[] = [
          "conflict",
          "unavailable",
          "outcome-unknown-applied",
          "outcome-unknown-lost",
        ];
        const fault = chosen(random, faults);
        this.#world.tell(`the next proposal meets ${fault}`);
        return managers.fail(fault);
      }
      case "hold-back": {
        const index = random.int(managers.count);
        const ms = 10 + random.int(3_000);
        this.#world.tell(`manager ${index} applies nothing for ${ms} ms`);
        return managers.holdBack(index, ms);
      }
      case "kill-worker":
        return this.#lasting(`the worker of ${name} is killed`, `worker ${name}`, [1, 30_000], () => this.#down(edge));
      case "pause-worker":
        return this.#lasting(`the worker of ${name} is paused`, `worker ${name}`, [500, 90_000], () => {
          edge.worker?.pause();
          return () => edge.worker?.resume();
        });
      case "set-record-back":
      case "lose-record": {
        const image = kind === "lose-record" ? undefined : this.#images.get(edge);
        if (this.#healing.has("managers") || (kind === "set-record-back" && image === undefined)) return;
        const isCalm = this.#healing.size === 0 && this.#world.clock.monotonic() - this.#lastTrouble > calmMs;
        const what = image === undefined ? "loses its record" : "is set back to an earlier record";
        return this.#lasting(`the worker of ${name} ${what}`, `worker ${name}`, [1, 10_000], () => {
          const up = this.#down(edge);
          edge.astray = true;
          if (image !== undefined || !isCalm || !edge.isReported) this.#world.observer.onRecordLost(edge);
          edge.link.lastApplied = undefined;
          if (image === undefined) edge.disk.entries.clear();
          else edge.disk.setBack({ entries: image.entries, identity: image.identity });
          return up;
        });
      }
      case "power-cut":
        return this.#lasting(`${name} loses power`, `worker ${name}`, [1_000, 120_000], () => {
          edge.powerOff();
          return () => edge.powerOn();
        });
      case "wrong-wall-clock": {
        const offset = chosen(random, [0, -50 * 365 * 86_400_000, 86_400_000, -3_600_000]);
        this.#world.tell(`the wall clock of ${name} is ${offset / 1_000} s off`);
        return edge.clock.setWallOffset(offset);
      }
      case "managers-wall-clock": {
        const index = random.int(managers.count);
        const offset = chosen(random, [0, 20_000, -20_000, 3_600_000, -3_600_000, -10 * 365 * 86_400_000]);
        this.#world.tell(`the wall clock of manager ${index} is ${offset / 1_000} s off`);
        return managers.member(index).clock.setWallOffset(offset);
      }
      case "runtime-away":
        return this.#lasting(`the runtime of ${name} is away`, `runtime ${name}`, [100, 20_000], () => {
          edge.machine.disconnect();
          return () => edge.machine.reconnect();
        });
      default:
        kind satisfies never;
    }
  }

  #down(edge: Edge): () => void {
    edge.kill();
    return () => edge.start();
  }

  /** Begins unless another of `of` lasts; ends by itself within `range`. */
  #lasting(what: string, of: string, [least, most]: readonly [number, number], begin: () => () => unknown): void {
    if (this.#healing.has(of)) return;
    const { clock, random } = this.#world;
    const ms = Math.round(least * (most / least) ** random.next());
    this.#world.tell(`${what} for ${ms} ms`);
    const heal = begin();
    const end = (): void => {
      if (this.#healing.get(of) !== end) return;
      this.#healing.delete(of);
      this.#lastTrouble = clock.monotonic();
      this.#world.tell(`over: ${what}`);
      heal();
    };
    this.#healing.set(of, end);
    clock.setTimeout(end, ms);
  }
}
