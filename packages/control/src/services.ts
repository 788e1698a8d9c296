import { isDeepStrictEqual } from "node:util";
import {
  ObjectKind,
  Service,
  ServicesDefinition,
  ServiceSpec,
  TaskSpec,
  UpdateStatus_State,
  invalid,
  precondition,
  type ListServicesRequest,
} from "@warren/api";
import { limits as specLimits } from "@warren/api/spec";
import { bind, type BoundService } from "@warren/api/server";
import type { Clock } from "@warren/std";
import type { Transaction, View } from "@warren/store";
import { Access, idOf, resolve, resolveServiceOrTask, serviceName } from "./access.ts";
import { explainService, explainTask } from "./explanation.ts";
import { field, mustBeFew, nameTaken, stale, tooMany } from "./failures.ts";
import { limits } from "./limits.ts";
import { pageOf } from "./pages.ts";
import { restoreSpec } from "./redaction.ts";
import { admit, checkSpec } from "./service-admission.ts";
import { presentService } from "./summary.ts";

export function services(access: Access, clock: Clock): BoundService {
  const present = (id: string): Service => presentService(access.view(), resolve(access.view(), "services", id));
  return bind(ServicesDefinition, {
    async create({ spec }, { signal }) {
      const checked = checkSpec(spec);
      const id = await access.update(signal, (tx) => createService(tx, checked));
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

    async update({ ref, version, spec }, { signal }) {
      if (spec === undefined) throw invalid([{ field: "spec", description: "is missing" }]);
      const id = await access.update(signal, (tx) => updateService(tx, ref, version, spec));
      return present(id);
    },

    async scale({ ref, replicas }, { signal }) {
      if (replicas > specLimits.replicas)
        throw field("replicas", `want at most ${specLimits.replicas.toLocaleString("en")}, not ${replicas}`);
      const id = await access.update(signal, (tx) => scaleService(tx, ref, replicas));
      return present(id);
    },

    async rollback({ ref }, { signal }) {
      const id = await access.update(signal, (tx) => rollBackService(tx, ref, new Date(clock.now())));
      return present(id);
    },

    async delete({ ref }, { signal }) {
      await access.update(signal, (tx) => {
        const service = resolve(tx, "services", ref);
        if (service.deleting) return;
        tx.update("services", { ...service, deleting: true });
        tell(tx, service, "deleting", "asked to go; its tasks are shut down first");
      });
      return {};
    },

    explain({ ref }) {
      const view = access.view();
      const found = resolveServiceOrTask(view, ref);
      return found.kind === "service" ? explainService(view, found.service) : explainTask(view, found.task);
    },
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

function createService(tx: Transaction, spec: ServiceSpec): string {
  if (tx.find("services", "name", spec.name).length > 0) throw nameTaken("services", spec.name);
  if (tx.list("services").length >= limits.services) throw tooMany("services", limits.services);
  const service: Service = {
    meta: undefined,
    spec: admit(tx, spec, ""),
    previousSpec: undefined,
    specVersion: 1,
    endpoint: undefined,
    updateStatus: undefined,
    deleting: false,
    summary: undefined,
  };
  const id = tx.create("services", service);
  tell(tx, { ...service, meta: { id, version: 0, createdAt: undefined, updatedAt: undefined } }, "created", "created");
  return id;
}

function updateService(tx: Transaction, ref: string, version: number, given: ServiceSpec): string {
  const service = changeable(tx, ref);
  mustBe(service, version);
  const name = serviceName(service);
  if (given.name !== name) throw field("spec.name", `can't be changed: it is "${name}", not "${given.name}"`);
  const spec = admit(tx, checkSpec(restoreSpec(given, service.spec)), idOf(service));
  const current = ServiceSpec.fromPartial(service.spec ?? {});
  if (isDeepStrictEqual(ServiceSpec.fromPartial(spec), current)) return idOf(service);
  const replaces = replacesTasks(spec, service.spec);
  tx.update("services", {
    ...service,
    spec,
    previousSpec: service.spec,
    specVersion: service.specVersion + (replaces ? 1 : 0),
  });
  tell(tx, service, "updated", replaces ? "updated; its tasks are replaced" : "updated; its tasks stay");
  return idOf(service);
}

/** A rollback is not to undo a scaling, so the spec that it would return to is scaled too. */
function scaleService(tx: Transaction, ref: string, replicas: number): string {
  const service = changeable(tx, ref);
  const { spec, previousSpec } = service;
  const mode = { $case: "replicated", value: { replicas } } as const;
  const before = spec?.mode?.$case === "replicated" ? spec.mode.value.replicas : 0;
  if (spec === undefined || before === replicas) return idOf(service);
  tx.update("services", {
    ...service,
    spec: { ...spec, mode },
    previousSpec: previousSpec && { ...previousSpec, mode },
  });
  tell(tx, service, "scaled", `scaled from ${before} to ${replicas}`);
  return idOf(service);
}

/** As an automatic rollback does it: there is no way forth again but an update. */
function rollBackService(tx: Transaction, ref: string, now: Date): string {
  const service = changeable(tx, ref);
  const { previousSpec } = service;
  if (previousSpec === undefined) {
    throw precondition(
      [
        {
          type: "NO_PREVIOUS_SPEC",
          subject: `service/${serviceName(service)}`,
          description: `service "${serviceName(service)}" has no spec to return to: it was not updated since it was created or rolled back`,
        },
      ],
      `change it with: warren service update ${serviceName(service)}`,
    );
  }
  const spec = admit(tx, previousSpec, idOf(service));
  const replaces = replacesTasks(spec, service.spec);
  const specVersion = service.specVersion + (replaces ? 1 : 0);
  const updateStatus = {
    state: UpdateStatus_State.ROLLING_BACK,
    startedAt: now,
    completedAt: undefined,
    message: "rolling back, as was asked",
    specVersion,
  };
  tx.update("services", {
    ...service,
    spec,
    previousSpec: undefined,
    specVersion,
    updateStatus: replaces ? updateStatus : service.updateStatus,
  });
  tell(tx, service, "rollback-started", "returns to the spec before, as was asked");
  return idOf(service);
}

/** @throws ApiError if there is none, or it is being deleted */
function changeable(view: View, ref: string): Service {
  const service = resolve(view, "services", ref);
  if (!service.deleting) return service;
  const name = serviceName(service);
  throw precondition(
    [{ type: "DELETING", subject: `service/${name}`, description: `service "${name}" is being deleted` }],
    "create it again when it is gone",
  );
}

function mustBe(service: Service, version: number): void {
  const current = service.meta?.version ?? 0;
  if (version !== 0 && version !== current) throw stale("service", serviceName(service), current, version);
}

/** Whether tasks made from the one differ from those made from the other, in whatever order maps are. */
function replacesTasks(spec: ServiceSpec, before: ServiceSpec | undefined): boolean {
  return !isDeepStrictEqual(TaskSpec.fromPartial(spec.task ?? {}), TaskSpec.fromPartial(before?.task ?? {}));
}

function tell(tx: Transaction, service: Service, action: string, message: string): void {
  tx.emit({ kind: ObjectKind.SERVICE, objectId: idOf(service), objectName: serviceName(service), action, message });
}
