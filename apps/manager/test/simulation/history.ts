/** What befalls a cluster: what its operators ask for, and what breaks; each drawn by chance. */
import {
  CreateServiceRequest,
  NodeSpec_Availability as Availability,
  NodeStatus_State,
  RestartPolicy_Condition as Condition,
  ServiceSpec,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
  UpdateNodeRequest,
} from "@warren/api";
import { chosen, drawn } from "./chance.ts";
import { images, type Edge } from "./edge.ts";
import { Troubles } from "./troubles.ts";
import type { World } from "./world.ts";

type TaskInput = NonNullable<Parameters<typeof ServiceSpec.fromPartial>[0]["task"]>;

/** From the stop signal to SIGKILL. */
const stopGraceMs = 2_000;

const names = ["web", "api", "db"] as const;

export type Wish =
  | "create"
  | "scale"
  | "update"
  | "delete"
  | "drain"
  | "activate"
  | "remove"
  | "join"
  | "exit"
  | "wait";

const wishes: readonly (readonly [Wish, number])[] = [
  ["create", 6],
  ["scale", 6],
  ["update", 8],
  ["delete", 3],
  ["drain", 2],
  ["activate", 4],
  ["remove", 2],
  ["join", 1],
  ["exit", 4],
  ["wait", 4],
];

export class History {
  readonly #world: World;
  readonly troubles: Troubles;

  constructor(world: World) {
    this.#world = world;
    this.troubles = new Troubles(world);
  }

  /** @param trouble share of steps that break something, 0 to 1 */
  async step(trouble: number): Promise<void> {
    const { random } = this.#world;
    if (random.next() < trouble) this.troubles.begin();
    else this.#wish(drawn(random, wishes));
    await this.#world.pass(chosen(random, [10, 200, 1_000, 3_000, 6_000, 12_000, 35_000]));
  }

  /** Everything is well again, and every node takes tasks. */
  async calm(): Promise<void> {
    const { edges } = this.#world;
    this.#world.tell("calm");
    this.troubles.end();
    this.troubles.joinAnew();
    await this.#world.pass(30_000);
    // A proposal may yet fail that was told to.
    for (let tries = 0; tries < 5; tries += 1) {
      for (const { name } of edges) this.#available(name, Availability.ACTIVE);
      await this.#world.pass(5_000);
    }
  }

  #wish(wish: Wish): void {
    const { random, edges } = this.#world;
    const there = this.#world.view.list("services").map(({ spec }) => spec?.name ?? "");
    const absent = names.filter((each) => !there.includes(each));
    if (there.length === 0 && wish !== "wait") return this.#ask("create", names, chosen(random, edges));
    const from = wish === "create" && absent.length > 0 ? absent : there;
    if (from.length > 0) this.#ask(wish, from, chosen(random, edges));
  }

  #ask(wish: Wish, from: readonly string[], edge: Edge): void {
    const { random } = this.#world;
    const name = chosen(random, from);
    switch (wish) {
      case "create":
        return this.create(name, 1 + random.int(5), this.#task(), this.#update());
      case "scale": {
        const replicas = random.int(6);
        const what = `scale ${name} to ${replicas}`;
        return this.#world.call(what, ({ services, context }) => services.scale({ ref: name, replicas }, context));
      }
      case "update":
        return this.#updateService(name);
      case "delete":
        return this.#world.call(`delete ${name}`, ({ services, context }) => services.delete({ ref: name }, context));
      case "drain":
        return this.#available(edge.name, Availability.DRAIN);
      case "activate":
        return this.#available(edge.name, Availability.ACTIVE);
      case "remove":
        return this.#removeOneThatIsDown();
      case "join":
        return this.troubles.joinAnew();
      case "exit": {
        const { running } = edge;
        if (running.length === 0) return;
        const id = chosen(random, running);
        this.#world.tell(`${edge.label(id, "slot-id")} ends by itself on ${edge.name}`);
        return edge.exit(id, random.int(2));
      }
      case "wait":
        return;
      default:
        wish satisfies never;
    }
  }

  create(
    name: string,
    replicas: number,
    task: TaskInput,
    update: { readonly order: Order; readonly action: Action },
  ): void {
    const { order, action } = update;
    const spec = {
      name,
      task,
      mode: { $case: "replicated" as const, value: { replicas } },
      update: {
        order,
        failureAction: action,
        parallelism: replicas % 3,
        monitorMs: 3_000,
        progressDeadlineMs: 120_000,
      },
      ports: name === "web" ? [{ target: 80 }, { target: 81, published: 8_081 }] : [],
    };
    const what = `create ${name}: ${replicas} × ${taskText(task)}, ${order === Order.START_FIRST ? "start" : "stop"}-first`;
    this.#world.call(what, ({ services, context }) =>
      services.create(CreateServiceRequest.fromPartial({ spec }), context),
    );
  }

  #updateService(name: string): void {
    const [service] = this.#world.view.find("services", "name", name);
    if (service?.spec === undefined) return;
    const task = this.#task();
    const { order, action } = this.#update();
    const spec = ServiceSpec.fromPartial({
      ...service.spec,
      task,
      update: { ...service.spec.update, order, failureAction: action },
    });
    const what = `update ${name}: ${taskText(task)}, ${order === Order.START_FIRST ? "start" : "stop"}-first`;
    this.#world.call(what, ({ services, context }) =>
      services.update({ ref: name, specVersion: 0, spec, resolveImage: false }, context),
    );
  }

  /** L15: its leases are released, and its id is not given again. */
  #removeOneThatIsDown(): void {
    const { random, view } = this.#world;
    const down = view.list("nodes").filter(({ status }) => status?.state === NodeStatus_State.DOWN);
    if (down.length === 0) return;
    const { meta, description } = chosen(random, down);
    const what = `remove ${description?.hostname}`;
    this.#world.call(what, ({ nodes, context }) => nodes.remove({ ref: meta?.id ?? "" }, context));
  }

  #available(hostname: string, availability: Availability): void {
    const node = this.#world.view.list("nodes").find(({ description }) => description?.hostname === hostname);
    if (node === undefined || node.spec?.availability === availability) return;
    const request = UpdateNodeRequest.fromPartial({ ref: node.meta?.id ?? "", spec: { ...node.spec, availability } });
    const word = availability === Availability.DRAIN ? "drain" : "activate";
    this.#world.call(`${word} ${hostname}`, ({ nodes, context }) => nodes.update(request, context));
  }

  #update(): { readonly order: Order; readonly action: Action } {
    const { random } = this.#world;
    return {
      order: random.int(3) === 0 ? Order.START_FIRST : Order.STOP_FIRST,
      action: chosen(random, [Action.PAUSE, Action.CONTINUE, Action.ROLLBACK]),
    };
  }

  /** What a task is made from: mostly what runs on; else what ends, under a policy that counts. */
  #task(): TaskInput {
    const { random } = this.#world;
    const image = chosen(random, images);
    const chance = random.int(10);
    if (chance < 6) return { container: { image, args: ["run"], stopGraceMs }, restart: { delayMs: 500 } };
    if (chance < 8) return { container: { image, args: ["deaf"], stopGraceMs }, restart: { delayMs: 500 } };
    const args = ["exit", String(1 + random.int(20)), String(random.int(2))];
    const restart = {
      condition: chosen(random, [Condition.ANY, Condition.ON_FAILURE, Condition.NONE]),
      delayMs: chosen(random, [0, 1_000, 10_000]),
      maxAttempts: random.int(4),
      windowMs: chosen(random, [0, 20_000, 120_000]),
    };
    return { container: { image, args, stopGraceMs }, restart };
  }
}

function taskText({ container, restart }: TaskInput): string {
  const { condition = 0, delayMs = 0, maxAttempts = 0, windowMs = 0 } = restart ?? {};
  return `${container?.image} ${container?.args?.join(" ")}, restart ${condition}/${delayMs}/${maxAttempts}/${windowMs}`;
}
