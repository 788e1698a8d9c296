/** Passwords go in and never come out. What comes out keeps the user's name, and may be sent back as it is. */
import type { RegistryAuth, RegistryCredential, Service, ServiceSpec, Task, TaskSpec } from "@warren/api";

function redactAuth(auth: RegistryAuth): RegistryAuth {
  return { username: auth.username, password: "" };
}

function redactTaskSpec(spec: TaskSpec): TaskSpec {
  return spec.registryAuth === undefined ? spec : { ...spec, registryAuth: redactAuth(spec.registryAuth) };
}

function redactSpec(spec: ServiceSpec): ServiceSpec {
  return spec.task?.registryAuth === undefined ? spec : { ...spec, task: redactTaskSpec(spec.task) };
}

export function redactService(service: Service): Service {
  return {
    ...service,
    spec: service.spec && redactSpec(service.spec),
    previousSpec: service.previousSpec && redactSpec(service.previousSpec),
  };
}

export function redactTask(task: Task): Task {
  return task.spec?.registryAuth === undefined ? task : { ...task, spec: redactTaskSpec(task.spec) };
}

export function redactCredential(credential: RegistryCredential): RegistryCredential {
  return { ...credential, auth: credential.auth && redactAuth(credential.auth) };
}

/** Credentials as they were given out, with the password that is kept; others as they are. */
export function restoreAuth(given: RegistryAuth | undefined, kept: RegistryAuth | undefined): RegistryAuth | undefined {
  const isEcho = given?.password === "" && given.username === kept?.username;
  return isEcho ? kept : given;
}

export function restoreSpec(given: ServiceSpec, kept: ServiceSpec | undefined): ServiceSpec {
  if (given.task?.registryAuth === undefined) return given;
  return {
    ...given,
    task: { ...given.task, registryAuth: restoreAuth(given.task.registryAuth, kept?.task?.registryAuth) },
  };
}
