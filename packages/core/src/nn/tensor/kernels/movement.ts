import { packWalk, sameShape, sizeOf, stridesOf } from "../geometry.js";
import { tf } from "../tfjs.js";
import {
  alias,
  allocateLike,
  type Call,
  floatsOf,
  input,
  type Kernel,
  type KernelTable,
  numberAttr,
  numbersAttr,
  output,
  textAttr,
  type Values,
  valuesOf,
} from "./kernel.js";

function copy(
  call: Call,
  shape: readonly number[],
  from: { readonly values: Values; readonly strides: readonly number[]; readonly offset?: number },
  to: { readonly values: Values; readonly strides: readonly number[]; readonly offset?: number },
): boolean {
  const walk = packWalk(shape, from.strides, to.strides);
  if (walk === undefined) return false;
  call.native.tensorCopy(from.values, from.offset ?? 0, to.values, to.offset ?? 0, walk);
  return true;
}

/** A new tensor of `shape` that reads `values` through `strides`. */
function view(
  call: Call,
  info: tf.TensorInfo,
  shape: readonly number[],
  strides: readonly number[],
  offset = 0,
): tf.TensorInfo | undefined {
  const values = valuesOf(call, info);
  if (values === undefined) return undefined;
  const out = allocateLike(call, values, sizeOf(shape));
  if (out.length > 0 && !copy(call, shape, { values, strides, offset }, { values: out, strides: stridesOf(shape) })) {
    return undefined;
  }
  return output(call, shape, info.dtype, out);
}

const transpose: Kernel = (call) => {
  const x = input(call, "x");
  const perm = numbersAttr(call.attrs, "perm");
  if (perm === undefined) return undefined;
  const shape = perm.map((d) => x.shape[d]!);
  // Moving dimensions of size 1 moves nothing.
  const moved = perm.filter((d) => x.shape[d] !== 1);
  if (moved.every((d, i) => i === 0 || d > moved[i - 1]!)) return alias(call, x, shape);
  const strides = stridesOf(x.shape);
  return view(
    call,
    x,
    shape,
    perm.map((d) => strides[d]!),
  );
};

const slice: Kernel = (call) => {
  const x = input(call, "x");
  const [begin, size] = [numbersAttr(call.attrs, "begin"), numbersAttr(call.attrs, "size")];
  if (begin === undefined || size === undefined || x.dtype === "string") return undefined;
  const [from, extent] = tf.slice_util.parseSliceParams(x, begin, size);
  tf.slice_util.assertParamsValid(x, from!, extent!);
  if (sameShape(extent!, x.shape)) return alias(call, x);
  const strides = stridesOf(x.shape);
  const offset = from!.reduce((sum, start, d) => sum + start * strides[d]!, 0);
  return view(call, x, extent!, strides, offset);
};

const tile: Kernel = (call) => {
  const x = input(call, "x");
  const reps = numbersAttr(call.attrs, "reps");
  if (reps === undefined) return undefined;
  const shape = x.shape.map((size, d) => size * reps[d]!);
  if (reps.every((r) => r === 1)) return alias(call, x);
  const own = stridesOf(x.shape);
  // Each dimension becomes (repetition, position), the repetition with stride 0.
  const walk = x.shape.flatMap((size, d) => [reps[d]!, size]);
  const strides = x.shape.flatMap((_, d) => [0, own[d]!]);
  const made = view(call, x, walk, strides);
  return made === undefined ? undefined : { ...made, shape };
};

const pad: Kernel = (call) => {
  const x = input(call, "x");
  const values = valuesOf(call, x);
  const { paddings } = call.attrs;
  if (values === undefined || !Array.isArray(paddings)) return undefined;
  const margins = paddings.map((p) => (Array.isArray(p) ? p.map(Number) : [0, 0]));
  const shape = x.shape.map((size, d) => margins[d]![0]! + size + margins[d]![1]!);
  const out = allocateLike(call, values, sizeOf(shape));
  out.fill(numberAttr(call.attrs, "constantValue", 0));
  const strides = stridesOf(shape);
  const offset = margins.reduce((sum, margin, d) => sum + margin[0]! * strides[d]!, 0);
  if (values.length > 0) {
    const from = { values, strides: stridesOf(x.shape) };
    if (!copy(call, x.shape, from, { values: out, strides, offset })) return undefined;
  }
  return output(call, shape, x.dtype, out);
};

/** Joins tensors seen as [outer, inner_i] along the second dimension. */
function join(
  call: Call,
  parts: readonly tf.TensorInfo[],
  outer: number,
  shape: readonly number[],
): tf.TensorInfo | undefined {
  const first = parts[0]!;
  const arrays = parts.map((part) => valuesOf(call, part));
  if (arrays.some((values, i) => values === undefined || parts[i]!.dtype !== first.dtype)) return undefined;
  const out = allocateLike(call, arrays[0]!, sizeOf(shape));
  const width = outer === 0 ? 0 : out.length / outer;
  let offset = 0;
  for (const values of arrays) {
    const inner = outer === 0 ? 0 : values!.length / outer;
    if (inner === 0) continue;
    const to = { values: out, strides: [width, 1], offset };
    if (!copy(call, [outer, inner], { values: values!, strides: [inner, 1] }, to)) return undefined;
    offset += inner;
  }
  return output(call, shape, first.dtype, out);
}

function partsOf(call: Call): tf.TensorInfo[] {
  return Object.values(call.inputs).filter((info) => info !== undefined);
}

const concat: Kernel = (call) => {
  const parts = partsOf(call);
  const first = parts[0];
  if (first === undefined) return undefined;
  const axis = tf.util.parseAxisParam(numberAttr(call.attrs, "axis"), first.shape)[0]!;
  const shapes = parts.map((part) => part.shape);
  tf.backend_util.assertParamsConsistent(shapes, axis);
  const shape = tf.backend_util.computeOutShape(shapes, axis);
  return join(call, parts, sizeOf(first.shape.slice(0, axis)), shape);
};

const pack: Kernel = (call) => {
  const parts = partsOf(call);
  const first = parts[0];
  if (first === undefined) return undefined;
  const rank = first.shape.length + 1;
  const given = numberAttr(call.attrs, "axis", 0);
  const axis = given < 0 ? given + rank : given;
  if (!parts.every((part) => sameShape(part.shape, first.shape))) return undefined;
  const shape = [...first.shape.slice(0, axis), parts.length, ...first.shape.slice(axis)];
  return join(call, parts, sizeOf(first.shape.slice(0, axis)), shape);
};

function cut(call: Call, x: tf.TensorInfo, axis: number, sizes: readonly number[]): tf.TensorInfo[] | undefined {
  const strides = stridesOf(x.shape);
  const made: tf.TensorInfo[] = [];
  let start = 0;
  for (const size of sizes) {
    const shape = x.shape.map((extent, d) => (d === axis ? size : extent));
    const part = view(call, x, shape, strides, start * strides[axis]!);
    if (part === undefined) return undefined;
    made.push(part);
    start += size;
  }
  return made;
}

const split: Kernel = (call) => {
  const x = input(call, "x");
  const axis = tf.util.parseAxisParam(numberAttr(call.attrs, "axis"), x.shape)[0]!;
  const wanted = call.attrs.numOrSizeSplits;
  if (typeof wanted !== "number" && !Array.isArray(wanted)) return undefined;
  const sizes = typeof wanted === "number" ? wanted : wanted.map(Number);
  return cut(call, x, axis, tf.backend_util.prepareSplitSize(x, sizes, axis));
};

const unpack: Kernel = (call) => {
  const x = input(call, "value");
  const given = numberAttr(call.attrs, "axis", 0);
  const axis = given < 0 ? given + x.shape.length : given;
  const count = x.shape[axis];
  if (count === undefined) return undefined;
  const parts = cut(call, x, axis, new Array<number>(count).fill(1));
  const shape = x.shape.filter((_, d) => d !== axis);
  return parts?.map((part) => ({ ...part, shape }));
};

const gather: Kernel = (call) => {
  const [x, indices] = [input(call, "x"), input(call, "indices")];
  const [values, ids] = [valuesOf(call, x), valuesOf(call, indices)];
  if (values === undefined || values instanceof Uint8Array || !(ids instanceof Int32Array)) return undefined;
  const axis = tf.util.parseAxisParam(numberAttr(call.attrs, "axis", 0), x.shape)[0]!;
  const batchDims = numberAttr(call.attrs, "batchDims", 0);
  const info = tf.backend_util.segment_util.collectGatherOpShapeInfo(x, indices, axis, batchDims);
  const out = allocateLike(call, values, sizeOf(info.outputShape));
  if (out.length > 0) {
    const count = ids.length / info.batchSize;
    call.native.tensorGather(values, ids, out, info.batchSize, info.outerSize, info.dimSize, count, info.sliceSize);
  }
  return output(call, info.outputShape, x.dtype, out);
};

const segmentSum: Kernel = (call) => {
  const [x, segmentIds] = [input(call, "x"), input(call, "segmentIds")];
  const [values, ids] = [floatsOf(call, x), valuesOf(call, segmentIds)];
  if (values === undefined || !(ids instanceof Int32Array)) return undefined;
  const segments = numberAttr(call.attrs, "numSegments");
  const rest = x.shape.slice(segmentIds.shape.length);
  const inner = sizeOf(rest);
  const out = call.backend.allocate(segments * inner);
  call.native.tensorSegmentSum(values, ids, out, segments, inner);
  return output(call, [segments, ...rest], "float32", out);
};

const oneHot: Kernel = (call) => {
  const indices = input(call, "indices");
  const ids = valuesOf(call, indices);
  const dtype = textAttr(call.attrs, "dtype") ?? "float32";
  if (ids === undefined || (dtype !== "float32" && dtype !== "int32")) return undefined;
  const depth = numberAttr(call.attrs, "depth");
  const length = ids.length * depth;
  const out = dtype === "int32" ? new Int32Array(length) : call.backend.allocate(length);
  out.fill(numberAttr(call.attrs, "offValue", 0));
  const on = numberAttr(call.attrs, "onValue", 1);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (id >= 0 && id < depth) out[i * depth + id] = on;
  }
  return output(call, [...indices.shape, depth], dtype, out);
};

export const movementKernels: KernelTable = {
  Transpose: transpose,
  Slice: slice,
  Tile: tile,
  PadV2: pad,
  Concat: concat,
  Pack: pack,
  SplitV: split,
  Unpack: unpack,
  GatherV2: gather,
  UnsortedSegmentSum: segmentSum,
  OneHot: oneHot,
};
