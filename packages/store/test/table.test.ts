import { Task } from "@warren/api";
import * as fc from "fast-check";
import { expect, test } from "vitest";

import { Table } from "../src/table.ts";
import { definitions, type StoredObject } from "../src/tables.ts";

const few = fc.constantFrom("", "a", "b", "c");
const task = fc
  .record({ id: fc.string({ minLength: 1, maxLength: 3 }), serviceId: few, nodeId: few, slotId: few })
  .map(({ id, ...more }): StoredObject => Task.create({ meta: { id }, ...more }));

/** All that can be asked of it. */
function imageOf(table: Table): unknown {
  const found = [...definitions.tasks.indexes.keys()].map((index) =>
    ["a", "b", "c"].map((value) => table.find(index, value)),
  );
  return [table.size, table.list(), found];
}

test("objects that are put at once lead to the table that they lead to one by one, in whatever order they come", () => {
  fc.assert(
    fc.property(fc.array(task), fc.array(task), fc.boolean(), (first, later, sorted) => {
      const id = ({ meta }: StoredObject): string => meta?.id ?? "";
      const objects = sorted ? [...new Map(first.map((each) => [id(each), each])).values()] : first;
      if (sorted) objects.sort((a, b) => (id(a) < id(b) ? -1 : 1));
      const [atOnce, oneByOne] = [new Table(definitions.tasks), new Table(definitions.tasks)];
      atOnce.putAll(objects);
      for (const object of objects) oneByOne.put(object);
      expect(imageOf(atOnce)).toEqual(imageOf(oneByOne));
      // What was made at once can be changed as any other, and its copies are apart from it.
      const copy = atOnce.copy();
      for (const object of later) {
        copy.put(object);
        oneByOne.put(object);
      }
      for (const object of first) {
        copy.remove(id(object));
        oneByOne.remove(id(object));
      }
      expect(imageOf(copy)).toEqual(imageOf(oneByOne));
      const untouched = new Table(definitions.tasks);
      untouched.putAll(objects);
      expect(imageOf(atOnce)).toEqual(imageOf(untouched));
    }),
  );
});
