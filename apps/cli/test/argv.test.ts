/** The doors of the command line: what people type who know another one. */
import { describe, expect, test } from "vitest";
import { editDistance, routeArgv } from "../src/argv.ts";
import { commandTable } from "../src/command-table.ts";
import { Run } from "../src/commands/run.ts";
import { splitExec } from "../src/commands/task.ts";
import { splitAtCommand } from "../src/service/split-run.ts";
import { unknownFlagText } from "../src/unknown-flags.ts";
import { failureText } from "../src/warren-command.ts";
import { ApiError } from "@warren/api";
import { commands } from "../src/commands/index.ts";

const ids = Object.keys(commandTable);
const route = (line: string): ReturnType<typeof routeArgv> => routeArgv(line.split(" ").filter(Boolean), ids);

test.for([
  ["service list", "service:list", []],
  ["service ls -o json", "service:list", ["-o", "json"]],
  ["service rm web db", "service:delete", ["web", "db"]],
  ["service ps web", "service:tasks", ["web"]],
  ["node ls", "node:list", []],
  ["node rm edge-1", "node:remove", ["edge-1"]],
  ["network rm back", "network:delete", ["back"]],
  ["registry ls", "registry:list", []],
  ["swarm init", "cluster:init", []],
  ["swarm leave --force", "cluster:leave", ["--force"]],
  ["info", "cluster:info", []],
  ["login registry.example -u me", "registry:login", ["registry.example", "-u", "me"]],
  ["ps", "task:list", []],
  ["logs web -f", "service:logs", ["web", "-f"]],
  ["exec web ls -l", "task:exec", ["web", "ls", "-l"]],
  ["exec web.1 sh --help", "task:exec", ["web.1", "sh", "--help"]],
  ["scale web=3", "service:scale", ["web=3"]],
  ["restart web", "service:restart", ["web"]],
  ["wait web --healthy", "service:wait", ["web", "--healthy"]],
  ["volume ls -q", "volume:list", ["-q"]],
  ["volume rm data", "volume:delete", ["data"]],
  ["images", "image:list", []],
  ["why web", "why", ["web"]],
  ["--host unix:/x service list", "service:list", ["--host", "unix:/x"]],
  [
    "--host=unix:/x service create web --image a -- b",
    "service:create",
    ["--host=unix:/x", "web", "--image", "a", "--", "b"],
  ],
  ["-o json service list", "service:list", ["-o", "json"]],
  ["--host unix:/x exec web ls", "task:exec", ["--host", "unix:/x", "web", "ls"]],
  ["service create web --image a -- --help", "service:create", ["web", "--image", "a", "--", "--help"]],
] as const)("'%s' is %s", ([line, id, argv]) => {
  expect(route(line)).toEqual({ kind: "run", id, argv });
});

test.for([
  ["--rm busybox ls -l --help", ["--rm", "busybox"], ["ls", "-l", "--help"]],
  ["-e A=1 --host unix:/x --name=a busybox", ["-e", "A=1", "--host", "unix:/x", "--name=a", "busybox"], []],
  ["--verbose --init busybox -- -c x", ["--verbose", "--init", "busybox"], ["-c", "x"]],
  ["-t busybox sh", ["-t", "busybox"], ["sh"]],
] as const)("of 'run %s' the container's command begins after the image", ([line, own, command]) => {
  expect(splitAtCommand(line.split(" "), { ...Run.baseFlags, ...Run.flags })).toEqual({ own, command });
  expect(route(`run ${line}`)).toEqual({ kind: "run", id: "run", argv: line.split(" ") });
});

test.for(["-it", "-i", "-d"])("'run %s' says where that is", (flag) => {
  expect(unknownFlagText([flag], "run", ["rm", "name"])).toMatch(/: a (shell|service) .*: warren /);
});

test.for(["version", "-v", "--version"])("'%s' is the version", (line) => {
  expect(route(line)).toEqual({ kind: "version" });
});

test.for([
  ["", [], false],
  ["help", [], false],
  ["-h", [], false],
  ["--help", [], false],
  ["help service", ["service"], false],
  ["service", ["service"], false],
  ["service --help", ["service"], false],
  ["help service create", ["service", "create"], false],
  ["help service ls", ["service", "list"], false],
  ["help exec", ["task", "exec"], false],
  ["service create --help", ["service", "create"], false],
  ["service create -h", ["service", "create"], false],
  ["service create web --help-all", ["service", "create"], true],
  ["exec", ["task", "exec"], false],
  ["exec --help", ["task", "exec"], false],
] as const)("'%s' is help", ([line, words, all]) => {
  expect(route(line)).toEqual({ kind: "help", words, all });
});

test.for([
  ["servce list", "'servce list' is not a warren command; did you mean 'warren service list'?"],
  ["service lits", "'service lits' is not a warren command; did you mean 'warren service list'?"],
  ["nonsense", "'nonsense' is not a warren command"],
  ["help nonsense", "'nonsense' is not a warren command"],
  ["stack deploy", "there is no 'warren stack deploy': Compose files are not read yet"],
  [
    "volume create data",
    "there is no 'warren volume create': volumes are made where a service mounts them: --mount type=volume,src=NAME,dst=/PATH",
  ],
  ["swarm join", "there is no 'warren swarm join': a cluster is one machine for now"],
  ["node ps edge-1", "there is no 'warren node ps': warren task list --node NODE"],
] as const)("'%s' is told what it may have been", ([line, error]) => {
  expect(route(line)).toEqual({ kind: "unknown", error });
});

test.for([
  ["", "", 0],
  ["list", "list", 0],
  ["lits", "list", 1],
  ["lst", "list", 1],
  ["abc", "", 3],
] as const)("'%s' and '%s' are %i edits apart", ([a, b, distance]) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

test.for([
  [
    ["--name"],
    "service:create",
    "--name is not a flag of 'warren service create': the name stands by itself: warren service create NAME --image IMAGE",
  ],
  [["--publish-add"], "service:update", "--publish-add is not a flag of 'warren service update': use --publish"],
  [
    ["--rollback"],
    "service:update",
    "--rollback is not a flag of 'warren service update': use warren service rollback NAME",
  ],
  [["--replcias"], "service:create", "--replcias is not a flag of 'warren service create'; did you mean --replicas?"],
  [["--publish-add"], "service:list", "--publish-add is not a flag of 'warren service list'"],
] as const)("a flag that there is not, %s of %s, gets the right one", ([flags, id, text]) => {
  const known = id === "service:list" ? ["output", "host"] : ["publish", "replicas", "image"];
  expect(unknownFlagText(flags, id, known)).toBe(text);
});

describe("exec's command", () => {
  test.for([
    ["web.1 ls -l /", ["web.1"], ["ls", "-l", "/"]],
    ["-it web.1 sh", ["-it", "web.1"], ["sh"]],
    [
      "-i web.1 --env A=1 --workdir /etc -- sh -c x",
      ["-i", "web.1", "--env", "A=1", "--workdir", "/etc"],
      ["sh", "-c", "x"],
    ],
    ["-u root web.1 id -u", ["-u", "root", "web.1"], ["id", "-u"]],
    ["web.1 -- -x", ["web.1"], ["-x"]],
    ["web.1 sh -c -- x", ["web.1"], ["sh", "-c", "--", "x"]],
    ["web.1", ["web.1"], []],
  ] as const)("of '%s' begins after the task", ([line, own, command]) => {
    expect(splitExec(line.split(" "))).toEqual({ own, command });
  });
});

test("an error says each of its causes once, and what is raw only when asked", () => {
  const raw = new Error("14 UNAVAILABLE: connect ENOENT");
  const api = new ApiError({ code: "API_UNAVAILABLE" }, "no manager answers", { cause: raw });
  const outer = new Error("it did not work: no manager answers", { cause: api });
  expect(failureText(outer, false)).toBe("it did not work: no manager answers");
  expect(failureText(outer, true)).toBe("it did not work: no manager answers: 14 UNAVAILABLE: connect ENOENT");
  expect(failureText(new Error("a", { cause: new Error("b") }), false)).toBe("a: b");
});

test("a flag that may be given often takes one value each time, so that arguments can follow it", () => {
  const greedy = Object.entries(commands).flatMap(([id, command]) =>
    Object.entries({ ...command.flags })
      .filter(([, flag]) => flag.type === "option" && flag.multiple === true && flag.multipleNonGreedy !== true)
      .map(([name]) => `${id} --${name}`),
  );
  expect(greedy).toEqual([]);
});
