import { isDeepStrictEqual } from "node:util";
import {
  DeletedService,
  ObjectKind,
  Service,
  ServicesDefinition,
  ServiceSpec,
  invalid,
  precondition,
  type ListServicesRequest,
  type TaskSpec,
  type UpdatePlan,
  type UpdateServiceRequest,
} from "@warren/api";
import { limits as specLimits } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import { roleOf, rollbackTo, startFirstObstacle, withVersion } from "@warren/orchestrator/plan";
import type { Transaction, View } from "@warren/store";
import { Access, idOf, resolve, serviceName } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";
import { explain } from "./node-explanation.ts";
import { field, mustBeFew, nameTaken, stale, tooMany } from "./failures.ts";
import { ImageResolver } from "./image-resolver.ts";
import { limits } from "./limits.ts";
import { pageOf } from "./pages.ts";
import { admit, checkSpec } from "./service-admission.ts";
import { presentService, replicasOf } from "./summary.ts";
import { planOf } from "./update-plan.ts";
import { createVersion, historyOf, makesTheSame, rollbackTarget } from "./versions.ts";

export function services(access: Access, dependencies: ControlDependencies): BoundService {
  const { clock } = dependencies;
  const images = new ImageResolver(dependencies);
  const present = (id: string): Service => presentService(access.view(), resolve(access.view(), "services", id));
  /** An update whose spec is checked and whose image is looked up. */
  const changeOf = async (request: UpdateServiceRequest, signal: AbortSignal): Promise<ServiceChange> => {
    const { ref, specVersion, spec, resolveImage } = request;
    if (spec === undefined) throw invalid([{ field: "spec", description: "is missing" }]);
    const checked = checkSpec(spec);
    const view = access.view();
    const before = resolve(view, "services", ref).spec?.task;
    const looksAgain = resolveImage || before?.container?.image !== checked.task?.container?.image;
    const digest = looksAgain ? await images.digestOf(view, checked.task, signal) : undefined;
    return { ref, specVersion, spec: checked, digest };
  };
  return bind(ServicesDefinition, {
    async create({ spec }, { signal }) {
      const checked = checkSpec(spec);
      const digest = await images.digestOf(access.view(), checked.task, signal);
      const id = await access.update(signal, (tx) => createService(tx, checked, digest));
      return present(id);
    },

    get({ ref }) {
      const view = access.view();
      return presentService(view, resolve(view, "services", ref));
    },

    list(request) {
      const view = access.view();
      const { items, nextPageToken } = pageOf(request.page, {
        of: "services",
        objects: view.list("services").filter(filterOf(request)),
        keyOf: serviceName,
        bytesOf: (service) => Service.encode(service).finish().length,
      });
      return { services: items.map((service) => presentService(view, service)), nextPageToken };
    },

    async update(request, { signal }) {
      const change = await changeOf(request, signal);
      const id = await access.update(signal, (tx) => updateService(tx, change));
      return present(id);
    },

    async planUpdate(request, { signal }) {
      const change = await changeOf(request, signal);
      const work = (tx: Transaction): UpdatePlan => planOf(tx, updateService(tx, change), clock.now());
      return access.update(signal, work, { dryRun: true });
    },

    async restart({ ref }, { signal }) {
      const id = await access.update(signal, (tx) => restartService(tx, ref));
      return present(id);
    },

    history({ ref }) {
      const view = access.view();
      return { versions: historyOf(view, resolve(view, "services", ref)) };
    },

    async scale({ ref, replicas }, { signal }) {
      if (replicas > specLimits.replicas)
        throw field("replicas", `want at most ${specLimits.replicas.toLocaleString("en")}, not ${replicas}`);
      const id = await access.update(signal, (tx) => scaleService(tx, ref, replicas));
      return present(id);
    },

    async rollback({ ref, versionNumber }, { signal }) {
      const now = new Date(clock.now());
      const id = await access.update(signal, (tx) => rollBackService(tx, ref, versionNumber, now));
      return present(id);
    },

    async delete({ ref }, { signal }) {
      const id = await access.update(signal, (tx) => deleteService(tx, ref));
      return { id };
    },

    explain: ({ ref }) => explain(access.view(), ref),
  });
}

function filterOf({ names, labels }: ListServicesRequest): (service: Service) => boolean {
  const wanted = Object.entries(labels);
  mustBeFew("names", names.length);
  mustBeFew("labels", wanted.length);
  return (service) => {
    const name = serviceName(service);
    if (names.length > 0 && !names.some((prefix) => name.startsWith(prefix))) return false;
    const has = service.spec?.labels ?? {};
    return wanted.every(([key, value]) => Object.hasOwn(has, key) && (value === "" || has[key] === value));
  };
}

function createService(tx: Transaction, spec: ServiceSpec, imageDigest: string): string {
  if (tx.find("services", "name", spec.name).length > 0) throw nameTaken("services", spec.name);
  if (tx.list("services").length >= limits.services) throw tooMany("services", limits.services);
  const admitted = admit(tx, spec, "");
  const service: Service = {
    meta: undefined,
    spec: admitted,
    specVersion: 1,
    versionId: "",
    lastVersionNumber: 0,
    recentVersionIds: [],
    completedVersionIds: [],
    endpoint: undefined,
    updateStatus: undefined,
    summary: undefined,
  };
  const id = tx.create("services", service);
  const made = resolve(tx, "services", id);
  tx.update("services", { ...made, ...newVersion(tx, made, admitted.task, imageDigest) });
  const replicas = replicasOf(made);
  const { image = "" } = admitted.task?.container ?? {};
  emit(tx, made, "created", `${replicas} task${replicas === 1 ? "" : "s"} of ${image}`);
  return id;
}

/** The service's fields once it wants another version, which is made. */
function newVersion(
  tx: Transaction,
  service: Service,
  task: TaskSpec | undefined,
  imageDigest: string,
): Pick<Service, "versionId" | "lastVersionNumber" | "recentVersionIds"> {
  if (task === undefined) throw invalid([{ field: "spec.task", description: "is missing" }]);
  const number = service.lastVersionNumber + 1;
  const before = tx.get("versions", service.versionId);
  const versionId = createVersion(tx, { serviceId: idOf(service), number, task, imageDigest, before });
  return { versionId, lastVersionNumber: number, recentVersionIds: withVersion(service.recentVersionIds, versionId) };
}

interface ServiceChange {
  readonly ref: string;
  /** The one that the caller read; 0: any. */
  readonly specVersion: number;
  /** Complete. */
  readonly spec: ServiceSpec;
  /** What the image was found to be; undefined where it was not looked at, so that it stays. */
  readonly digest: string | undefined;
}

function updateService(tx: Transaction, { ref, specVersion, spec: given, digest }: ServiceChange): string {
  const service = resolve(tx, "services", ref);
  const name = serviceName(service);
  if (specVersion !== 0 && specVersion !== service.specVersion)
    throw stale("service", name, service.specVersion, specVersion);
  if (given.name !== name) throw field("spec.name", `can't be changed: it is "${name}", not "${given.name}"`);
  const spec = admit(tx, given, idOf(service));
  const wanted = tx.get("versions", service.versionId);
  // A registry that could not be asked changes nothing.
  const imageDigest = digest === undefined || digest === "" ? keptDigest(spec, service, wanted?.imageDigest) : digest;
  const sameImage = imageDigest === (wanted?.imageDigest ?? "");
  const sameSpec = isDeepStrictEqual(ServiceSpec.fromPartial(spec), ServiceSpec.fromPartial(service.spec ?? {}));
  if (sameSpec && sameImage) return idOf(service);
  const sameTask = isDeepStrictEqual(
    ServiceSpec.fromPartial({ task: spec.task }),
    ServiceSpec.fromPartial({ task: service.spec?.task }),
  );
  if (!sameImage || !makesTheSame(spec.task, service.spec?.task)) checkOrder(tx, name, spec);
  const version = sameTask && sameImage ? {} : newVersion(tx, service, spec.task, imageDigest);
  tx.update("services", { ...service, spec, specVersion: service.specVersion + 1, ...version });
  const stays = sameImage && makesTheSame(spec.task, service.spec?.task);
  emit(tx, service, "updated", stays ? "updated; its tasks stay" : updateText(wanted?.imageDigest, imageDigest));
  return idOf(service);
}

/** The same spec and the same image in a version of its own, which its tasks are replaced by. */
function restartService(tx: Transaction, ref: string): string {
  const service = resolve(tx, "services", ref);
  const { spec } = service;
  if (spec?.task === undefined) throw new Error("assertion failed: a service has a spec");
  const task = { ...spec.task, forceUpdate: spec.task.forceUpdate + 1 };
  const restarted = admit(tx, { ...spec, task }, idOf(service));
  checkOrder(tx, serviceName(service), restarted);
  const digest = tx.get("versions", service.versionId)?.imageDigest ?? "";
  const version = newVersion(tx, service, restarted.task, digest);
  tx.update("services", { ...service, spec: restarted, specVersion: service.specVersion + 1, ...version });
  emit(tx, service, "restarted", "restarted; its tasks are replaced by the same");
  return idOf(service);
}

/** @throws ApiError `API_PRECONDITION` where the update could never place its first new task */
function checkOrder(view: View, name: string, spec: ServiceSpec): void {
  const obstacle = startFirstObstacle(spec, view.list("nodes"), (node) => roleOf(view, idOf(node)));
  if (obstacle === undefined) return;
  const description = `service "${name}" ${obstacle.why}`;
  throw precondition([{ type: "NO_ROOM_TO_START_FIRST", subject: `service/${name}`, description }], obstacle.remedy);
}

/** What is known of the image as long as its reference is the same. */
function keptDigest(spec: ServiceSpec, service: Service, known: string | undefined): string {
  const same = spec.task?.container?.image === service.spec?.task?.container?.image;
  return same ? (known ?? "") : "";
}

function updateText(before: string | undefined, now: string): string {
  const isOther = before !== undefined && before !== "" && now !== "" && before !== now;
  return `updated; its tasks are replaced${isOther ? `, with image ${now} in place of ${before}` : ""}`;
}

function scaleService(tx: Transaction, ref: string, replicas: number): string {
  const service = resolve(tx, "services", ref);
  const { spec } = service;
  const replicated = spec?.mode?.$case === "replicated" ? spec.mode.value : { replicas: 0 };
  const before = replicated.replicas;
  if (spec === undefined || before === replicas) return idOf(service);
  const mode = { $case: "replicated", value: { ...replicated, replicas } } as const;
  tx.update("services", { ...service, spec: { ...spec, mode }, specVersion: service.specVersion + 1 });
  emit(tx, service, "scaled", `scaled from ${before} to ${replicas}`);
  return idOf(service);
}

/** What its tasks are made from becomes that of an earlier version; all else of the spec stays. */
function rollBackService(tx: Transaction, ref: string, versionNumber: number, now: Date): string {
  const service = resolve(tx, "services", ref);
  const { spec } = service;
  const target = rollbackTarget(tx, service, versionNumber);
  if (spec === undefined || idOf(target) === service.versionId) return idOf(service);
  const message = `rolling back to version ${target.number}, as was asked`;
  const changes = rollbackTo(service, target, message, now.getTime(), tx.epoch.index);
  tx.update("services", {
    ...service,
    ...changes,
    spec: admit(tx, { ...spec, task: target.task }, idOf(service)),
    specVersion: service.specVersion + 1,
  });
  emit(tx, service, "rollback-started", message);
  return idOf(service);
}

/** Name and ports are free at once. The slots stay until their nodes have released them. */
function deleteService(tx: Transaction, ref: string): string {
  const service = resolve(tx, "services", ref);
  const id = idOf(service);
  // One small command, however many slots there are: the orchestrator gives them up.
  if (tx.find("slots", "service", id).length > 0)
    tx.create(
      "deletedServices",
      DeletedService.fromPartial({ meta: { id }, name: serviceName(service), vip: service.endpoint?.vip ?? "" }),
    );
  tx.delete("services", id);
  emit(tx, service, "deleted", "deleted; its tasks are stopped");
  return idOf(service);
}

function emit(tx: Transaction, service: Service, action: string, message: string): void {
  tx.emit({ kind: ObjectKind.SERVICE, objectId: idOf(service), objectName: serviceName(service), action, message });
}
