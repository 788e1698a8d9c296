import {
  Node,
  NodeSpec_Availability as Availability,
  PortSpec_Mode as Mode,
  ServiceSpec,
  UpdateConfig_Order as Order,
} from "@warren/api";
import { expect, test } from "vitest";
import { startFirstObstacle, type Obstacle } from "../src/start-first.ts";

function node(id: string, labels: Record<string, string> = {}, availability: Availability = Availability.ACTIVE): Node {
  return Node.create({ meta: { id }, spec: { labels, availability }, description: { hostname: id } });
}
function spec(
  replicas: number,
  order: Order = Order.START_FIRST,
  mode: Mode = Mode.HOST,
  constraints: string[] = [],
): ServiceSpec {
  return ServiceSpec.create({
    name: "web",
    mode: { $case: "replicated", value: { replicas } },
    update: { order },
    ports: [{ target: 80, published: 8080, mode }],
    task: { placement: { constraints } },
  });
}
const three = [node("a"), node("b"), node("c", { zone: "north" })];

const obstacle = (of: ServiceSpec, nodes: readonly Node[], managers: readonly string[] = []): Obstacle | undefined =>
  startFirstObstacle(of, nodes, ({ meta }) => (managers.includes(meta?.id ?? "") ? "manager" : "worker"));

test("a port of the host and as many replicas as nodes leave no room for a new task beside the old one", () => {
  expect(obstacle(spec(3), three)).toEqual({
    why: "can't start a new task first: port 8080 of the host is one task's on each node, 3 nodes take its tasks, and it has 3 replicas",
    remedy: "update with order stop-first, publish the port with mode ingress, or add a node",
  });
  expect(obstacle(spec(2), three)).toBeUndefined();
});

test("nodes that take none of its tasks do not count", () => {
  expect(obstacle(spec(2), [...three.slice(1), node("d", {}, Availability.DRAIN)])).toBeDefined();
  expect(obstacle(spec(1, Order.START_FIRST, Mode.HOST, ["node.labels.zone == north"]), three)!.why).toContain(
    "1 node takes its tasks",
  );
  const onManagers = spec(1, Order.START_FIRST, Mode.HOST, ["node.role == manager"]);
  expect(obstacle(onManagers, three, ["a", "b"])).toBeUndefined();
  expect(obstacle(onManagers, three, ["a"])!.why).toContain("1 node takes its tasks");
});

test("there is none with stop-first, with an ingress port, or without replicas", () => {
  expect(obstacle(spec(3, Order.STOP_FIRST), three)).toBeUndefined();
  expect(obstacle(spec(3, Order.START_FIRST, Mode.INGRESS), three)).toBeUndefined();
  expect(obstacle(spec(0), three)).toBeUndefined();
});
