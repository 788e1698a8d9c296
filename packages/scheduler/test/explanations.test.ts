/**
 * Explanations against a checker that shares no code with them: it parses the sentences, counts again in the model of the
 * world, and follows the help.
 */
import * as fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { type Delta, type NodeState, type Refusal, Scheduler, type TaskState, type Waiting } from "../src/index.ts";
import { anyDelta, anyServices } from "./model/arbitraries.ts";
import { ModelWorld } from "./model/world.ts";
import { GiB, node, task, applied, world } from "./world.ts";

// Many worlds; seconds, on a machine that has nothing else to do.
vi.setConfig({ testTimeout: 60_000 });

/** A scheduler to which the model's world was applied. */
function schedulerOf(model: ModelWorld): Scheduler {
  const scheduler = new Scheduler();
  for (const delta of model.deltas()) scheduler.apply(delta);
  return scheduler;
}

function copyOf(model: ModelWorld): ModelWorld {
  const copy = new ModelWorld();
  for (const delta of model.deltas()) copy.apply(delta);
  return copy;
}

/** The node that a text means by `name`: its hostname, else its id. */
const named = (model: ModelWorld, name: string, id: string): NodeState => {
  const found = model.nodes.get(id) as NodeState;
  expect(name).toBe(found.hostname ?? found.id);
  return found;
};

const free = (model: ModelWorld, on: NodeState, kind: string): number =>
  (on.named?.[kind]?.length ?? on.resources?.[kind] ?? 0) -
  model.held(on.id).reduce((sum, each) => sum + (each.reservations?.[kind] ?? 0), 0);

/** `2 B of memory`, `0.000000003 CPU`, `1 gpu` → kind and amount. */
function amountOf(text: string): [kind: string, amount: number] {
  const [, number = "", unit = "", rest = ""] = /^([\d.]+) (B|CPU|\S+)(?: of (\S+))?$/.exec(text) ?? [];
  if (unit === "CPU") return ["cpu", Math.round(Number(number) * 1e9)];
  return [unit === "B" ? rest : unit, Number(number)];
}

const list = (text: string): string[] => text.split(/, | and /);

/** Counts every number of a refusal again. */
function checkRefusal(model: ModelWorld, asked: TaskState, { filter, text, nearestNodeId }: Refusal): void {
  const on = model.nodes.get(nearestNodeId) as NodeState;
  expect(model.refusals(on, asked)[0]).toBe(filter);
  const here = model.held(nearestNodeId);
  const match = (pattern: RegExp): string[] => {
    const found = pattern.exec(text);
    expect(found, `${text} is as ${String(pattern)}`).not.toBeNull();
    return [...(found ?? [])].slice(1).map((each) => each ?? "");
  };
  switch (filter) {
    case "ready": {
      const [name = "", state] = match(/^not ready or not active: (\S+) is (.+)$/);
      named(model, name, nearestNodeId);
      expect(state).toBe([...(on.ready ? [] : ["down"]), ...(on.active ? [] : ["paused or drained"])].join(", and "));
      return;
    }
    case "level": {
      const [needed, , actual] = match(/^too old for the task, which needs level (\d+): (\S+) has level (\d+)$/);
      expect([Number(needed), Number(actual)]).toEqual([asked.level, on.level ?? 0]);
      return;
    }
    case "addresses": {
      const [, tasks, most] = match(/^out of addresses: (\S+) has (\d+) tasks? and addresses for (\d+)$/);
      expect([Number(tasks), Number(most)]).toEqual([here.length, on.addresses]);
      return;
    }
    case "max-per-node": {
      const [limit, noun, , held] = match(/^at the limit of (\d+) (tasks?) of this service per node: (\S+) has (\d+)$/);
      expect(noun).toBe(limit === "1" ? "task" : "tasks");
      expect(Number(limit)).toBe(asked.maxPerNode);
      expect(Number(held)).toBe(model.staying(on.id).filter((each) => each.serviceId === asked.serviceId).length);
      return;
    }
    case "host-ports": {
      const [ports = ""] = match(/^with a host port in use: (.+) on \S+$/);
      const taken = here.flatMap((each) => each.hostPorts ?? []).map((each) => `${each.port}/${each.protocol}`);
      const wanted = (asked.hostPorts ?? []).map((each) => `${each.port}/${each.protocol}`);
      expect(list(ports)).toEqual(wanted.filter((each) => taken.includes(each)));
      return;
    }
    case "resources":
      return checkResources(model, asked, on, text);
    case "networks":
    case "volumes": {
      const [, lacks = ""] = match(/^without a (?:network|volume) of the task: (\S+) lacks (.+)$/);
      expect(list(lacks)).toEqual((asked[filter] ?? []).filter((each) => !on[filter]?.includes(each)));
      return;
    }
    default:
      expect(text).not.toMatch(/^(?:are|is|have|has|do|does|can't|hold|holds) /);
  }
}

function checkResources(model: ModelWorld, asked: TaskState, on: NodeState, text: string): void {
  const needs = Object.entries(asked.reservations ?? {}).filter(([, amount]) => amount > 0);
  const refused = [...model.nodes.values()].filter((each) => model.refusals(each, asked)[0] === "resources");
  const one = /^short of (\S+): needs (.+), most free is (.+) on \S+$/.exec(text);
  if (needs.length === 1) {
    const [kind, needed] = needs[0] as [string, number];
    expect(one?.[1]).toBe(kind);
    const said = [one?.[2] ?? "", one?.[3] ?? ""].map((each) => Number(/^[\d.]+/.exec(each)?.[0]));
    const scale = kind === "cpu" ? 1e9 : 1;
    expect(Math.round((said[0] ?? 0) * scale)).toBe(needed);
    const most = Math.max(...refused.map((each) => free(model, each, kind)));
    expect(Math.round((said[1] ?? 0) * scale)).toBe(Math.max(0, most));
    expect(free(model, on, kind)).toBe(most);
    return;
  }
  const found = /^short of (.+): nearest is \S+ with (.+)$/.exec(text);
  expect(found, text).not.toBeNull();
  const kinds = (found?.[1] ?? "").split(/, | or /);
  expect(kinds).toEqual(needs.map(([kind]) => kind).toSorted());
  const short = new Map<string, [number, number]>();
  for (const each of (found?.[2] ?? "").split(/, (?=[\d.]+ )| and /)) {
    const [, has = "", needed = ""] = /^(.+) free of (.+) needed$/.exec(each) ?? [];
    const [kind, amount] = amountOf(has);
    const scale = kind === "cpu" ? 1e9 : 1;
    short.set(kind, [amount, Math.round(Number(/^[\d.]+/.exec(needed)?.[0]) * scale)]);
  }
  const expected = needs
    .filter(([kind, amount]) => free(model, on, kind) < amount)
    .map(([kind, amount]): [string, [number, number]] => [kind, [Math.max(0, free(model, on, kind)), amount]]);
  expect(short).toEqual(new Map(expected));
  const lacks = (each: NodeState): number =>
    Math.max(...needs.map(([kind, amount]) => (amount - free(model, each, kind)) / amount));
  expect(lacks(on)).toBe(Math.min(...refused.map(lacks)));
}

function checkCounts(model: ModelWorld, asked: TaskState, { nodes, refusals, text }: Waiting): void {
  const first = [...model.nodes.values()].flatMap((each) => model.refusals(each, asked).slice(0, 1));
  const count = (name: string): number => first.filter((each) => each === name).length;
  expect(nodes).toBe(model.nodes.size);
  expect(new Set(refusals.map(({ filter }) => filter))).toEqual(new Set(first));
  for (const each of refusals) expect(each.nodes).toBe(count(each.filter));
  if (nodes > 0) {
    const noun = nodes === 1 ? "node" : "nodes";
    expect(text).toBe(refusals.map((each) => `${count(each.filter)} of ${nodes} ${noun} ${each.text}`).join("; "));
  }
  expect(text).not.toMatch(/−|NaN|undefined|\b1 (?:tasks|nodes of)\b/);
}

/** Applies one alternative of one step of help to the world and the task. Throws for a sentence that it can't parse. */
function follow(model: ModelWorld, asked: TaskState, on: NodeState, sentence: string, before: ModelWorld): TaskState {
  const state = (): NodeState => model.nodes.get(on.id) as NodeState;
  const change = (more: Partial<NodeState>): TaskState => {
    model.apply({ kind: "node", node: { ...state(), ...more } });
    return asked;
  };
  const doing: [RegExp, (...found: string[]) => TaskState][] = [
    [/^activate (\S+)$/, () => change({ active: true })],
    [/^bring (\S+) back$/, () => change({ ready: true })],
    [/^bring (\S+) back and activate it$/, () => change({ ready: true, active: true })],
    [/^upgrade (\S+) to level (\d+)$/, (_n, level) => change({ level: Number(level) })],
    [
      /^give (\S+) (\d+) more address(?:es)?$/,
      (_n, more) => change({ addresses: (state().addresses ?? 0) + Number(more) }),
    ],
    [/^stop (\d+) tasks? on (\S+)$/, (count) => stopOn(model, asked, on, Number(count))],
    [
      /^tolerate (.+)$/,
      (taints = "") => ({
        ...asked,
        tolerations: [
          ...(asked.tolerations ?? []),
          ...list(taints).map((each) => ({ key: each.split("=")[0] ?? "", value: each.split("=")[1] ?? "" })),
        ],
      }),
    ],
    [
      /^take (?:it|them) off (\S+)$/,
      () => change({ taints: (state().taints ?? []).filter((each) => each.effect !== "no-schedule") }),
    ],
    [
      /^build the image for (\S+)\/(\S+)$/,
      (_os, _arch) => ({ ...asked, platforms: [...(asked.platforms ?? []), { os: _os ?? "", arch: _arch ?? "" }] }),
    ],
    [
      /^offer (.+) on (\S+)$/,
      (names = "") =>
        change({
          networks: [...(state().networks ?? []), ...list(names).filter((each) => each.startsWith("n"))],
          volumes: [...(state().volumes ?? []), ...list(names).filter((each) => each.startsWith("v"))],
        }),
    ],
    [
      /^drop the constraints? (.+)$/,
      (dropped = "") => ({
        ...asked,
        constraints: (asked.constraints ?? []).filter((each) => !dropped.includes(`"${each}"`)),
      }),
    ],
    [/^(?:label|take the label) .+$/, () => relabel(model, asked, state(), sentence)],
    [/^start service .+$/, () => start(model, asked, on, sentence)],
    [/^stop (?:service|what) .+$/, () => stopServices(model, asked, sentence)],
    [
      /^free ([^,]+\/[^,]+.*) on (\S+)$/,
      (ports = "") => {
        for (const each of model.held(on.id)) {
          const kept = (each.hostPorts ?? []).filter((port) => !list(ports).includes(`${port.port}/${port.protocol}`));
          model.apply({ kind: "task", task: { ...each, hostPorts: kept } });
        }
        return asked;
      },
    ],
    [
      /^publish another port$/,
      () => ({ ...asked, hostPorts: (asked.hostPorts ?? []).map((each, n) => ({ ...each, port: 9000 + n })) }),
    ],
    [/^allow (\d+) per node$/, (most) => ({ ...asked, maxPerNode: Number(most) })],
    [/^stop (\d+) on (\S+)$/, (count) => stopOn(model, asked, on, Number(count), asked.serviceId)],
    [/^free (.+) on (\S+)$/, (amounts = "") => release(model, asked, on, list(amounts).map(amountOf), before)],
    [
      /^reserve at most (.+)$/,
      (amounts = "") => ({
        ...asked,
        reservations: { ...asked.reservations, ...Object.fromEntries(list(amounts).map(amountOf)) },
      }),
    ],
    [
      /^add a node like (\S+) with (.+)$/,
      (_n, amounts = "") => {
        const { named: _, ...like } = state();
        const more = Object.fromEntries(list(amounts).map(amountOf));
        const pieces = Object.fromEntries(
          Object.entries(state().named ?? {}).map(([kind, names]) => [kind, names.length]),
        );
        model.apply({
          kind: "node",
          node: { ...like, id: "another", hostname: "another", resources: { ...like.resources, ...pieces, ...more } },
        });
        return asked;
      },
    ],
  ];
  for (const [pattern, act] of doing) {
    const found = pattern.exec(sentence);
    if (found !== null) return act(...found.slice(1));
  }
  throw new Error(`the help "${sentence}" can't be followed`);
}

function stopOn(model: ModelWorld, asked: TaskState, on: NodeState, count: number, serviceId?: string): TaskState {
  const all =
    serviceId === undefined ? model.held(on.id) : model.staying(on.id).filter((each) => each.serviceId === serviceId);
  for (const each of all.slice(0, count)) model.apply({ kind: "task-gone", taskId: each.id });
  return asked;
}

function relabel(model: ModelWorld, asked: TaskState, on: NodeState, sentence: string): TaskState {
  const labels = { ...on.labels };
  for (const part of sentence.split(" and ")) {
    const set = /^label \S+ with ([^=]+)(?:=(.+))?$/.exec(part);
    const off = /^take the label (\S+) off \S+$/.exec(part);
    if (set !== null) labels[set[1] ?? ""] = set[2] ?? "";
    else if (off !== null) delete labels[off[1] ?? ""];
    else throw new Error(`the help "${sentence}" can't be followed`);
  }
  model.apply({ kind: "node", node: { ...on, labels } });
  return asked;
}

const label = (on: NodeState, topology: string): string | undefined =>
  topology === "node.id"
    ? on.id
    : topology === "node.hostname"
      ? on.hostname
      : on.labels?.[topology.slice("node.labels.".length)];

function start(model: ModelWorld, asked: TaskState, on: NodeState, sentence: string): TaskState {
  for (const part of sentence.split(" and ")) {
    const [, serviceId = "", topology = "", value] = /^start service (\S+) in (\S+) "(.*)"$/.exec(part) ?? [];
    expect(label(on, topology), sentence).toBe(value);
    // Where it has room: on a node of its own in the domain, unless the domain is one node.
    const narrow = topology === "node.id";
    const id = `host of ${serviceId} by ${topology}`;
    if (!narrow) {
      const state = { id, role: "worker" as const, ready: false, active: false };
      const labels = topology === "node.hostname" ? {} : { [topology.slice("node.labels.".length)]: value ?? "" };
      model.apply({
        kind: "node",
        node: { ...state, labels, hostname: topology === "node.hostname" ? (value ?? "") : id },
      });
    } else if (on.addresses !== undefined) {
      const now = model.nodes.get(on.id) as NodeState;
      model.apply({ kind: "node", node: { ...now, addresses: (now.addresses ?? 0) + 1 } });
    }
    model.apply({
      kind: "task",
      task: { id: `task on ${id}`, serviceId, specVersion: 9, nodeId: narrow ? on.id : id },
    });
  }
  return asked;
}

function stopServices(model: ModelWorld, asked: TaskState, sentence: string): TaskState {
  for (const part of sentence.split(/ and (?=stop )|, (?=stop )/)) {
    const one = /^stop service (\S+) in (\S+) "(.*)"$/.exec(part);
    const all = /^stop what keeps service (\S+) out of (\S+) "(.*)"$/.exec(part);
    expect(one ?? all, sentence).not.toBeNull();
    const [, service = "", topology = "", value] = (one ?? all) as RegExpExecArray;
    for (const each of model.staying()) {
      const on = model.nodes.get(each.nodeId ?? "");
      if (on === undefined || label(on, topology) !== value) continue;
      const repels = (each.affinity ?? []).some(
        (term) =>
          term.kind === "anti-affinity" &&
          term.required !== false &&
          term.service === service &&
          term.topology === topology,
      );
      if (one === null ? repels : each.serviceId === service) model.apply({ kind: "task-gone", taskId: each.id });
    }
  }
  return asked;
}

/** Reduces the reservations of tasks on the node, one after the other, until that much more is free. */
function release(
  model: ModelWorld,
  asked: TaskState,
  on: NodeState,
  amounts: [string, number][],
  before: ModelWorld,
): TaskState {
  for (const [kind, amount] of amounts) {
    const lacking = (): number => free(before, on, kind) + amount - free(model, on, kind);
    for (const each of model.held(on.id)) {
      const has = each.reservations?.[kind] ?? 0;
      const less = Math.max(0, Math.min(lacking(), has));
      model.apply({ kind: "task", task: { ...each, reservations: { ...each.reservations, [kind]: has - less } } });
    }
    expect(lacking(), `${amount} of ${kind} can be freed`).toBeLessThanOrEqual(0);
  }
  return asked;
}

/** Every way to follow a help: one alternative of each of its steps. */
function ways(help: string): string[][] {
  let found: string[][] = [[]];
  for (const piece of help.split("; and ")) {
    const alternatives = piece.split(", or ");
    found = found.flatMap((way) => alternatives.map((each) => [...way, each]));
  }
  return found;
}

function checkHelp(model: ModelWorld, asked: TaskState, { help, nearestNodeId }: Refusal): void {
  for (const way of help === undefined ? [] : ways(help)) {
    const changed = copyOf(model);
    let now = asked;
    for (const sentence of way)
      now = follow(changed, now, changed.nodes.get(nearestNodeId) as NodeState, sentence, model);
    const { kind } = schedulerOf(changed).wouldFit({ ...now, specVersion: 7 });
    expect(kind, `after: ${way.join("; ")}`).toBe("placed");
  }
}

const anyWorld = anyServices.chain((services) => fc.array(anyDelta(services), { maxLength: 100, size: "max" }));

describe("in any world", () => {
  it("every number in a reason is right, and following the help lets the task be placed", () => {
    const helped = new Map<string, number>();
    fc.assert(
      fc.property(anyWorld, (deltas: readonly Delta[]) => {
        const model = new ModelWorld();
        const scheduler = new Scheduler();
        for (const delta of deltas) for (const taker of [model, scheduler]) taker.apply(delta);
        for (const decision of scheduler.schedule()) if (decision.kind === "placed") model.take(decision);
        for (const asked of model.tasks.values()) {
          const waiting = scheduler.explain(asked.id);
          if (waiting === undefined) continue;
          checkCounts(model, asked, waiting);
          expect(model.nodes.size === 0 || waiting.refusals.length > 0).toBe(true);
          for (const refusal of waiting.refusals) {
            checkRefusal(model, asked, refusal);
            checkHelp(model, asked, refusal);
            helped.set(refusal.filter, (helped.get(refusal.filter) ?? 0) + (refusal.help === undefined ? 0 : 1));
          }
          if (waiting.help !== undefined && model.nodes.size > 0)
            expect(waiting.refusals.map(({ help }) => help)).toContain(waiting.help);
        }
      }),
      { numRuns: 300 },
    );
    // The help of each filter that has one was followed.
    for (const name of [
      "ready",
      "level",
      "constraints",
      "platform",
      "taints",
      "networks",
      "volumes",
      "affinity",
      "anti-affinity",
      "addresses",
      "host-ports",
      "max-per-node",
      "resources",
    ])
      expect([name, helped.get(name) ?? 0]).not.toEqual([name, 0]);
  });

  it("the last reason returned for a task is its present one, however others were placed meanwhile", () => {
    fc.assert(
      fc.property(anyWorld, fc.integer({ min: 1, max: 9 }), (deltas, every) => {
        const scheduler = new Scheduler();
        const model = new ModelWorld();
        const said = new Map<string, Waiting>();
        for (const [at, delta] of deltas.entries()) {
          for (const taker of [model, scheduler]) taker.apply(delta);
          if (at % every !== 0) continue;
          for (const decision of scheduler.schedule()) {
            if (decision.kind === "placed") model.take(decision);
            else said.set(decision.taskId, decision);
          }
          expect(scheduler.outdated).toBe(0);
          for (const { id, nodeId } of model.tasks.values())
            if (nodeId === undefined) expect(said.get(id)).toEqual(scheduler.explain(id));
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe("a reason", () => {
  it("names each of several scarce resources, with a help that is enough", () => {
    const held = task("held", { serviceId: "x", nodeId: "a", reservations: { memory: 3 * GiB, cpu: 3e9 } });
    const nodes = [node("a", { resources: { memory: 4 * GiB, cpu: 4e9 } }), node("b", { resources: { memory: GiB } })];
    const scheduler = world(nodes, [held, task("t", { reservations: { memory: 2 * GiB, cpu: 1.5e9 } })]);
    expect(scheduler.schedule()).toMatchObject([
      {
        text: "2 of 2 nodes short of cpu or memory: nearest is a with 1 GiB of memory free of 2 GiB needed and 1 CPU free of 1.5 CPU needed",
        help: "free 1 GiB of memory and 0.5 CPU on a, or reserve at most 1 GiB of memory and 1 CPU, or add a node like a with 2 GiB of memory and 1.5 CPU",
      },
    ]);
  });

  it("shows no amount below zero, and none rounded in the wrong direction", () => {
    const shrunk = world(
      [node("a", { resources: { cpu: 1e9 } })],
      [
        task("held", { serviceId: "x", nodeId: "a", reservations: { cpu: 1.000000001e9 } }),
        task("t", { reservations: { cpu: 1 } }),
      ],
    );
    expect(shrunk.schedule()).toMatchObject([
      { text: "1 of 1 node short of cpu: needs 0.000000001 CPU, most free is 0 CPU on a" },
    ]);
    const close = world(
      [node("a", { resources: { memory: GiB - 1 } })],
      [task("t", { reservations: { memory: GiB } })],
    );
    expect(close.schedule()).toMatchObject([
      { text: "1 of 1 node short of memory: needs 1 GiB, most free is 1023.99 MiB on a" },
    ]);
  });

  it("lists all names in its help, where the text counts the rest; a help that is too long is left out", () => {
    const many = (count: number): string[] => Array.from({ length: count }, (_, n) => `network-${n}`);
    expect(world([node("a")], [task("t", { networks: many(5) })]).schedule()).toMatchObject([
      {
        text: "1 of 1 node without a network of the task: a lacks network-0, network-1, network-2 and 2 more",
        help: "offer network-0, network-1, network-2, network-3 and network-4 on a",
      },
    ]);
    const [long] = world([node("a")], [task("t", { networks: many(100) })]).schedule();
    expect(long).not.toHaveProperty("help");
  });

  it("has no help that would change a node's id", () => {
    const scheduler = world([node("a")], [task("t", { constraints: ["node.id == b"] })]);
    expect(scheduler.schedule()).toMatchObject([
      {
        text: '1 of 1 node excluded by constraints: a fails "node.id == b", where it is "a"',
        help: 'drop the constraint "node.id == b"',
      },
    ]);
  });

  it("is returned again when other tasks took what was free", () => {
    const nodes = [node("a", { resources: { memory: 4 } })];
    const scheduler = world(nodes, [task("big", { serviceId: "big", reservations: { memory: 8 } })]);
    expect(scheduler.schedule()).toMatchObject([
      { text: "1 of 1 node short of memory: needs 8 B, most free is 4 B on a" },
    ]);
    expect(applied(scheduler, { kind: "task", task: task("t", { reservations: { memory: 3 } }) })).toMatchObject([
      { kind: "placed" },
      { taskId: "big", text: "1 of 1 node short of memory: needs 8 B, most free is 1 B on a" },
    ]);
  });
});
