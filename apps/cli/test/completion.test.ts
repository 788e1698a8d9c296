import { expect, test } from "vitest";
import { candidates, type CommandShape } from "../src/completion.ts";

const output = { name: "output", takesValue: true, options: ["table", "json"] };
const host = { name: "host", takesValue: true, options: [] };
const network = { name: "network", takesValue: true, options: [] };
const detach = { name: "detach", takesValue: false, options: [] };
const commands: readonly CommandShape[] = [
  { words: ["service", "create"], args: ["name"], flags: [network, detach, host] },
  { words: ["service", "list"], args: [], flags: [output, host] },
  { words: ["service", "logs"], args: ["service"], flags: [host] },
  { words: ["node", "drain"], args: ["node"], flags: [host] },
  { words: ["why"], args: ["ref"], flags: [host] },
];

test.for([
  [[""], ["node", "service", "why"]],
  [["s"], ["service"]],
  [
    ["service", ""],
    ["create", "list", "logs"],
  ],
  [
    ["service", "l"],
    ["list", "logs"],
  ],
  [
    ["service", "list", "--"],
    ["--host", "--output"],
  ],
  [
    ["service", "list", "--output", ""],
    ["table", "json"],
  ],
  [["service", "list", "--output", "j"], ["json"]],
  [["service", "create", "web", "--d"], ["--detach"]],
  [["nonsense", ""], []],
  [["service", "create", "web", "--", "--h"], []],
] as const)("after '%s' could stand %s", ([line, words]) => {
  expect(candidates(commands, line).words).toEqual(words);
});

test("names of objects are asked for where an argument or flag wants one", () => {
  expect(candidates(commands, ["service", "logs", ""]).names).toBe("service");
  expect(candidates(commands, ["node", "drain", ""]).names).toBe("node");
  expect(candidates(commands, ["why", ""]).names).toBe("service");
  expect(candidates(commands, ["service", "create", "web", "--network", ""]).names).toBe("network");
  expect(candidates(commands, ["service", "create", ""]).names).toBeUndefined();
});

test("the manager that the line names is asked", () => {
  expect(candidates(commands, ["service", "logs", "--host", "unix:/x", ""])).toMatchObject({
    names: "service",
    host: "unix:/x",
  });
});
