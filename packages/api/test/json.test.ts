import { ServiceSpec, Task, TaskState, ApiError } from "@warren/api";
import { fromJson, toJson } from "@warren/api/json";
import { describe, expect, it } from "vitest";

describe("messages as JSON", () => {
  it("are canonical: names in camelCase, enums by name, int64 as text, times as RFC 3339, oneofs flat", () => {
    const task = Task.fromPartial({
      meta: { id: "t1", version: 7, createdAt: new Date("2026-01-02T03:04:05.678Z") },
      spec: {
        container: { image: "nginx", mounts: [{ source: { $case: "bind", value: { path: "/a" } }, target: "/b" }] },
        resources: { memoryLimitBytes: 2 ** 40 },
      },
      desiredState: TaskState.RUNNING,
    });
    expect(toJson(Task, task)).toEqual({
      meta: { id: "t1", version: "7", createdAt: "2026-01-02T03:04:05.678Z" },
      spec: {
        container: { image: "nginx", mounts: [{ bind: { path: "/a" }, target: "/b" }] },
        resources: { memoryLimitBytes: "1099511627776" },
      },
      desiredState: "TASK_STATE_RUNNING",
    });
    expect(fromJson(Task, toJson(Task, task))).toEqual(task);
  });

  it("are taken with the proto file's names too, and refused with a field that is not known", () => {
    expect(fromJson(ServiceSpec, { task: { container: { read_only_root: true } } }).task?.container?.readOnlyRoot).toBe(
      true,
    );
    expect(() => fromJson(ServiceSpec, { nmae: "web" })).toThrow(/nmae/);
    try {
      fromJson(ServiceSpec, { name: 5 });
      expect.unreachable();
    } catch (error) {
      expect(ApiError.is(error, "API_INVALID") && error.failure.violations[0]?.description).toContain("name");
    }
  });
});
