import { PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import { gaussian, type ParameterSpec } from "../layers/parameters.js";
import { valuesInPlace } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";
import type { RowGradient } from "../terms/term.js";
import type { ItemTower } from "./tower.js";

const WEIGHT = "tower/text";

/**
 * A linear map of given vectors, such as embeddings of the items' texts: `x W`. Items that nobody has engaged with have
 * a vector as good as any other.
 *
 * @param given [N, t], row i belongs to dense id i + 1
 * @param dim d
 */
export function textTower(given: Matrix, dim: number): ItemTower {
  const spec: ParameterSpec = { name: WEIGHT, shape: [given.cols, dim], init: gaussian(1 / Math.sqrt(given.cols)) };
  return {
    name: "text",
    hasTable: false,
    specs: () => [spec],
    vectors(parameters, _table, out) {
      out.data.set(project(given, parameters.get(WEIGHT)!.values, dim));
    },
    differentiate: (gradient) => new Map([[WEIGHT, mapGradient(given, gradient, dim)]]),
  };
}

/** A learned vector for every item beside the map of its given one: `v + x W`. */
export function sumTower(given: Matrix, dim: number): ItemTower {
  const text = textTower(given, dim);
  return {
    ...text,
    name: "sum",
    hasTable: true,
    vectors(parameters, table, out) {
      if (table === undefined) {
        throw new PrismrecError("INTERNAL", "this tower has a table of item vectors", { expected: "[N, d]" });
      }
      const mapped = project(given, parameters.get(WEIGHT)!.values, dim);
      for (let i = 0; i < mapped.length; i++) out.data[i] = table.data[i]! + mapped[i]!;
    },
  };
}

/** `given W`: [N, d]. */
function project(given: Matrix, weight: Float32Array, dim: number): Float32Array {
  return tf.tidy(() =>
    valuesInPlace(
      tf.matMul(tf.tensor2d(given.data, [given.rows, given.cols]), tf.tensor2d(weight, [given.cols, dim])),
    ).slice(),
  );
}

/** `X^T G` over the rows that have a gradient: [t, d]. */
function mapGradient(given: Matrix, { ids, data }: RowGradient, dim: number): Float32Array {
  const { cols } = given;
  let rows = given.data;
  if (ids !== undefined) {
    rows = new Float32Array(ids.length * cols);
    ids.forEach((id, i) => {
      rows.set(given.data.subarray(id * cols, (id + 1) * cols), i * cols);
    });
  }
  const count = data.length / dim;
  return tf.tidy(() =>
    valuesInPlace(
      tf.matMul(tf.tensor2d(rows, [count, cols]), tf.tensor2d(data.subarray(0, count * dim), [count, dim]), true),
    ).slice(),
  );
}
