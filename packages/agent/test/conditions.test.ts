import { FakeClock, RecordingLogger } from "@warren/std/testing";
import { expect, test } from "vitest";
import { NodeConditions } from "../src/conditions.ts";
import { World } from "./fakes/world.ts";

const low = { code: "DISK_LOW", message: "little room", remedy: "make room" };
const port = (subject: string): { code: string; subject: string; message: string; remedy: string } => ({
  code: "PORT_IN_USE",
  subject,
  message: `${subject} is taken`,
  remedy: "publish another",
});

test("a condition keeps its `since`; its end is a change", () => {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const conditions = new NodeConditions({ clock, log });
  const began = new Date(clock.now());
  conditions.set("ports", [port("80/tcp")]);
  clock.advance(5_000);
  conditions.set("ports", [port("80/tcp"), port("81/tcp")]);
  conditions.set("disk", [low]);
  expect(conditions.all().map(({ code, subject, since }) => [code, subject, since])).toEqual([
    ["PORT_IN_USE", "80/tcp", began],
    ["PORT_IN_USE", "81/tcp", new Date(clock.now())],
    ["DISK_LOW", "", new Date(clock.now())],
  ]);
  const { count } = conditions.changes;
  conditions.set("disk", [low]);
  expect(conditions.changes.count).toBe(count);
  conditions.set("ports", []);
  expect(conditions.all().map(({ code }) => code)).toEqual(["DISK_LOW"]);
  expect(log.records.map(({ event }) => event)).toEqual([
    "the node has a condition",
    "the node has a condition",
    "the node has a condition",
    "a condition of the node has ended",
    "a condition of the node has ended",
  ]);
});

test("no more conditions are sent than a manager accepts", () => {
  const conditions = new NodeConditions({ clock: new FakeClock(), log: new RecordingLogger() });
  const serviceIds = Array.from({ length: 100 }, (_, i) => `service-${i}`);
  const many = Array.from({ length: 100 }, (_, i) => ({ ...port(`${i}`), message: "x".repeat(5_000), serviceIds }));
  conditions.set("ports", many);
  expect(conditions.all()).toHaveLength(64);
  expect(conditions.all()[0]?.message).toHaveLength(1_000);
  expect(conditions.all()[0]?.serviceIds).toHaveLength(64);
});

test("conditions are sent when a session begins, and after each change", async () => {
  await using world = new World();
  world.conditions.set("ports", [port("80/tcp")]);
  await world.start();
  const subjects = (): string[] | undefined => world.manager.description?.conditions.map(({ subject }) => subject);
  await world.until("it is described", () => subjects()?.join() === "80/tcp");
  world.conditions.set("ports", [port("80/tcp"), port("81/tcp")]);
  await world.until("a new one is known", () => subjects()?.join() === "80/tcp,81/tcp");
  world.manager.disconnect();
  world.conditions.set("ports", []);
  world.manager.reconnect();
  await world.until("what changed without a session is known", () => subjects()?.join() === "");
});
