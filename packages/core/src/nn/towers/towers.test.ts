import { describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { ParameterSet } from "../layers/parameters.js";
import { useTensorBackend } from "../tensor/backend.js";
import { idTower } from "./id.js";
import { sumTower, textTower } from "./text.js";

await useTensorBackend("cpu");

const [ITEMS, WIDTH, DIM] = [7, 5, 3];
const random = createRandom(5);
const draw = (rows: number, cols: number) => ({
  data: Float32Array.from({ length: rows * cols }, () => random.normal()),
  rows,
  cols,
});
const given = draw(ITEMS, WIDTH);
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe.each([idTower, textTower(given, DIM), sumTower(given, DIM)])("the tower $name", (tower) => {
  const parameters = ParameterSet.create(tower.specs(), createRandom(1));
  const table = tower.hasTable ? draw(ITEMS, DIM) : undefined;
  const vectorsOf = (own: ParameterSet, rows = table) => {
    const out = { data: new Float32Array(ITEMS * DIM), rows: ITEMS, cols: DIM };
    tower.vectors(own, rows, out);
    return out.data;
  };

  it.each([undefined, Uint32Array.of(1, 4, 6)])(
    "has, being linear, the gradient of its differences (rows %j)",
    (ids) => {
      const rows = ids ?? Uint32Array.from({ length: ITEMS }, (_, i) => i);
      const gradient = draw(rows.length, DIM).data;
      const whole = new Float32Array(ITEMS * DIM);
      rows.forEach((row, i) => {
        whole.set(gradient.subarray(i * DIM, (i + 1) * DIM), row * DIM);
      });
      const found = tower.differentiate(ids === undefined ? { data: gradient } : { ids, data: gradient });
      expect([...found.keys()]).toEqual(tower.specs().map(({ name }) => name));
      const before = dot(whole, vectorsOf(parameters));
      for (const { name, values } of parameters) {
        const step = values.map(() => random.normal());
        const moved = ParameterSet.from(tower.specs(), (own) =>
          own === name ? values.map((value, i) => value + step[i]!) : parameters.get(own)?.values,
        );
        expect(dot(whole, vectorsOf(moved)) - before).toBeCloseTo(dot(found.get(name)!, step), 3);
      }
      if (table === undefined) return;
      const step = draw(ITEMS, DIM);
      const moved = { ...table, data: table.data.map((value, i) => value + step.data[i]!) };
      expect(dot(whole, vectorsOf(parameters, moved)) - before).toBeCloseTo(dot(whole, step.data), 3);
    },
  );
});
