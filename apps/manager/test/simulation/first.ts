import { World } from "./world.ts";
import { missing } from "./rest.ts";
import { ServiceSpec, CreateServiceRequest } from "@warren/api";
const world = await World.begin({ seed: Number(process.argv[2] ?? 1), managers: 1, edges: 2 });
world.call("create web", ({ services, context }) =>
  services.create(CreateServiceRequest.fromPartial({ spec: { name: "web", task: { container: { image: "app:1", args: ["run"] } }, mode: { $case: "replicated", value: { replicas: 4 } } } }), context));
try {
  await world.until(120_000, () => (world.observer.starts < 4 ? ["starts"] : missing(world)));
} catch (e) { console.log(e); }
console.log(world.story.join("\n"));
console.log(world.log.records.filter(({level}) => level !== "debug" && level !== "info").slice(-10).map((r) => [r.event, r.fields.error ?? r.fields]));
await world.close();
