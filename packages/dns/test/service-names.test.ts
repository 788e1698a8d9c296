import { describe, expect, test } from "vitest";
import { ServiceNames, type NamedService } from "@warren/dns";

const networksOf: Record<string, string[]> = {
  "10.77.1.2": ["front"],
  "10.77.1.3": ["front", "back"],
  "10.77.1.4": ["back"],
};
const names = new ServiceNames({ clientNetworks: (address) => networksOf[address] ?? [] });
const task = (slot: number, address: string, healthy = true) => ({ slot: String(slot), address, healthy });
const services: NamedService[] = [
  {
    name: "web",
    aliases: ["www", "shop.example"],
    networks: ["front"],
    vip: "10.96.0.10",
    tasks: [task(1, "10.77.1.2"), task(2, "10.77.2.2", false), task(3, "10.77.2.3", false), task(3, "10.77.2.4")],
  },
  { name: "Stack_DB", networks: ["back"], tasks: [task(1, "10.77.1.4"), task(2, "10.77.1.5", false)] },
  { name: "my-api", aliases: ["www"], networks: ["front", "back"], vip: "10.96.0.12", tasks: [] },
];
names.update(services);

const front = { address: "10.77.1.2" };
const both = { address: "10.77.1.3" };
const back = { address: "10.77.1.4" };
const stranger = { address: "192.0.2.9" };

describe("a name", () => {
  test.each([
    ["web", ["10.96.0.10"]],
    ["web.warren", ["10.96.0.10"]],
    ["web.warren.warren", ["10.96.0.10"]],
    ["shop.example", ["10.96.0.10"]],
    ["shop.example.warren", ["10.96.0.10"]],
    ["tasks.web", ["10.77.1.2", "10.77.2.4"]],
    ["tasks.web.warren", ["10.77.1.2", "10.77.2.4"]],
    ["1.web", ["10.77.1.2"]],
    ["1.web.warren", ["10.77.1.2"]],
    ["my-api", ["10.96.0.12"]],
  ])("%s leads to %j", (name, addresses) => {
    expect(names.resolve(name, front)).toEqual(addresses);
  });

  test("of a slot leads to its task before that is healthy, and to the healthy one while two share the slot", () => {
    expect(names.resolve("2.web", front)).toEqual(["10.77.2.2"]);
    expect(names.resolve("3.web", front)).toEqual(["10.77.2.4"]);
  });

  test("with capitals or an underscore in the service's own is found in lower case", () => {
    expect(names.resolve("stack_db", back)).toEqual(["10.77.1.4"]);
    expect(names.resolve("tasks.stack_db.warren", back)).toEqual(["10.77.1.4"]);
  });

  test("of a service without a VIP leads to its healthy tasks", () => {
    expect(names.resolve("stack_db", both)).toEqual(["10.77.1.4"]);
  });

  test("of a service without tasks exists and has no task", () => {
    expect(names.resolve("tasks.my-api", front)).toEqual([]);
    expect(names.resolve("1.my-api", front)).toBe("NXDOMAIN");
  });

  test("that services share leads to all of them that the client may see", () => {
    expect(names.resolve("www", both)).toEqual(["10.96.0.10", "10.96.0.12"]);
    expect(names.resolve("www", back)).toEqual(["10.96.0.12"]);
  });

  test("of a network that the client is not on does not exist for it, and is not asked upstream", () => {
    for (const name of ["web", "web.warren", "tasks.web", "1.web"]) {
      expect(names.resolve(name, back)).toBe("NXDOMAIN");
      expect(names.resolve(name, stranger)).toBe("NXDOMAIN");
    }
  });

  test.each(["example.org", "web.example.org", "other", "foo.web", "01.web", "0.web", "-1.web", "warren", ""])(
    "%j, which no service has, is asked upstream",
    (name) => {
      expect(names.resolve(name, front)).toBeUndefined();
    },
  );
});

describe("an address", () => {
  test("of a task or VIP has a name for clients that may see the service, and none for others", () => {
    expect(names.reverse("10.96.0.10", front)).toBe("web.warren");
    expect(names.reverse("10.77.1.2", both)).toBe("1.web.warren");
    expect(names.reverse("10.96.0.10", back)).toBeUndefined();
    expect(names.reverse("10.77.200.1", both)).toBeUndefined();
  });
});

test("an update replaces all names at once", () => {
  const changing = new ServiceNames({ domain: "edge", clientNetworks: () => ["n"] });
  changing.update([{ name: "old", networks: ["n"], vip: "10.96.0.1", tasks: [] }]);
  expect(changing.resolve("old.edge", front)).toEqual(["10.96.0.1"]);
  changing.update([{ name: "new", networks: ["n"], vip: "10.96.0.1", tasks: [] }]);
  expect(changing.resolve("old.edge", front)).toBeUndefined();
  expect(changing.resolve("new", front)).toEqual(["10.96.0.1"]);
  expect(changing.reverse("10.96.0.1", front)).toBe("new.edge");
});

test("L8: no name leads to what is draining; a slot without a number has none of its own", () => {
  const own = new ServiceNames({ clientNetworks: () => ["front"] });
  const tasks = [
    { slot: "1", address: "10.77.1.2", healthy: true, draining: true },
    { slot: "2", address: "10.77.1.3", healthy: true },
    { slot: "node-a", address: "10.77.1.4", healthy: true },
  ];
  own.update([{ name: "web", networks: ["front"], tasks }]);
  const asked = (name: string) => own.resolve(name, front);
  expect(asked("tasks.web")).toEqual(["10.77.1.3", "10.77.1.4"]);
  expect(asked("web")).toEqual(["10.77.1.3", "10.77.1.4"]);
  expect([asked("1.web"), asked("2.web"), asked("node-a.web")]).toEqual(["NXDOMAIN", ["10.77.1.3"], undefined]);
  expect(["10.77.1.2", "10.77.1.3", "10.77.1.4"].map((address) => own.reverse(address, front))).toEqual([
    undefined,
    "2.web.warren",
    "web.warren",
  ]);
});
