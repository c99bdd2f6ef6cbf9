import { axesOf, sizeOf } from "../geometry.js";
import { ReduceOp } from "../opcodes.js";
import type { tf } from "../tfjs.js";
import {
  alias,
  type Call,
  flagAttr,
  floatsOf,
  input,
  type Kernel,
  type KernelTable,
  numbersAttr,
  output,
  valuesOf,
} from "./kernel.js";

interface Group {
  readonly size: number;
  readonly reduced: boolean;
}

/** Neighbouring dimensions that are all reduced or all kept, as one; dimensions of size 1 dropped. */
function groupsOf(shape: readonly number[], axes: readonly number[]): Group[] {
  const groups: Group[] = [];
  shape.forEach((size, d) => {
    if (size === 1) return;
    const reduced = axes.includes(d);
    const last = groups.at(-1);
    if (last?.reduced === reduced) groups[groups.length - 1] = { size: last.size * size, reduced };
    else groups.push({ size, reduced });
  });
  return groups;
}

function outShape(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  if (keepDims) return shape.map((size, d) => (axes.includes(d) ? 1 : size));
  return shape.filter((_, d) => !axes.includes(d));
}

/** `mean` divides a sum by the number of elements that went into each result. */
function reduce(call: Call, op: number, x: tf.TensorInfo, axisAttr: string, mean = false): tf.TensorInfo | undefined {
  const stored = valuesOf(call, x);
  if (stored === undefined) return undefined;
  const axes = axesOf(numbersAttr(call.attrs, axisAttr), x.shape.length);
  const shape = outShape(x.shape, axes, flagAttr(call.attrs, "keepDims"));
  const groups = groupsOf(x.shape, axes);
  let values: Float32Array | Int32Array = stored instanceof Uint8Array ? new Int32Array(stored) : stored;
  if (mean && !(values instanceof Float32Array)) values = new Float32Array(values);
  const dtype = values instanceof Float32Array ? "float32" : "int32";
  if (!groups.some((group) => group.reduced)) {
    if (values === stored) return alias(call, x, shape);
    return output(call, shape, dtype, values);
  }
  const scale = mean ? 1 / sizeOf(axes.map((d) => x.shape[d]!)) : 1;
  // Innermost first: each pass shortens what the next one reads.
  for (let g = groups.length - 1; g >= 0; g--) {
    const group = groups[g]!;
    if (!group.reduced) continue;
    const outer = sizeOf(groups.slice(0, g).map(({ size }) => size));
    const inner = sizeOf(
      groups
        .slice(g + 1)
        .filter((later) => !later.reduced)
        .map(({ size }) => size),
    );
    const last = !groups.slice(0, g).some((earlier) => earlier.reduced);
    const length = outer * inner;
    const out = values instanceof Float32Array ? call.backend.allocate(length) : new Int32Array(length);
    call.native.tensorReduce(op, values, out, outer, group.size, inner, last ? scale : 1);
    values = out;
  }
  return output(call, shape, dtype, values);
}

const argMax: Kernel = (call) => {
  const x = input(call, "x");
  const values = floatsOf(call, x);
  const axis = axesOf(numbersAttr(call.attrs, "axis"), x.shape.length)[0];
  if (values === undefined || axis === undefined) return undefined;
  const outer = sizeOf(x.shape.slice(0, axis));
  const inner = sizeOf(x.shape.slice(axis + 1));
  const out = new Int32Array(outer * inner);
  if (out.length > 0) call.native.tensorArgMax(values, out, outer, x.shape[axis]!, inner);
  return output(call, outShape(x.shape, [axis], false), "int32", out);
};

export const reduceKernels: KernelTable = {
  Sum: (call) => reduce(call, ReduceOp.sum, input(call, "x"), "axis"),
  Mean: (call) => reduce(call, ReduceOp.sum, input(call, "x"), "axis", true),
  Max: (call) =>
    input(call, "x").dtype === "bool" ? undefined : reduce(call, ReduceOp.max, input(call, "x"), "reductionIndices"),
  Min: (call) => (input(call, "x").dtype === "bool" ? undefined : reduce(call, ReduceOp.min, input(call, "x"), "axis")),
  Prod: (call) => reduce(call, ReduceOp.prod, input(call, "x"), "axis"),
  ArgMax: argMax,
};
