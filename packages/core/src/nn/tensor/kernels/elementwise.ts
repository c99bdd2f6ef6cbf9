import { broadcastStrides, packRun, packWalk, sameShape, sizeOf } from "../geometry.js";
import { BinaryOp, CompareOp, UnaryOp } from "../opcodes.js";
import { tf } from "../tfjs.js";
import {
  allocateLike,
  type Call,
  floatsOf,
  input,
  type Kernel,
  type KernelTable,
  numberAttr,
  output,
  textAttr,
  valuesOf,
} from "./kernel.js";

interface Pair {
  readonly shape: readonly number[];
  readonly size: number;
  readonly geometry: Int32Array;
}

function pair(a: readonly number[], b: readonly number[]): Pair | undefined {
  if (sameShape(a, b)) {
    const size = sizeOf(a);
    return { shape: a, size, geometry: packRun(size, 1, 1) };
  }
  const shape = tf.backend_util.assertAndGetBroadcastShape([...a], [...b]);
  const size = sizeOf(shape);
  if (sizeOf(b) === 1) return { shape, size, geometry: packRun(size, 1, size === 1 ? 1 : 0) };
  if (sizeOf(a) === 1) return { shape, size, geometry: packRun(size, 0, 1) };
  const geometry = packWalk(shape, broadcastStrides(a, shape), broadcastStrides(b, shape));
  return geometry === undefined ? undefined : { shape, size, geometry };
}

const INTEGER_OPS: ReadonlySet<number> = new Set([
  BinaryOp.add,
  BinaryOp.sub,
  BinaryOp.mul,
  BinaryOp.max,
  BinaryOp.min,
]);

export function binary(call: Call, op: number, a: tf.TensorInfo, b: tf.TensorInfo): tf.TensorInfo | undefined {
  const [left, right] = [valuesOf(call, a), valuesOf(call, b)];
  if (left === undefined || right === undefined || a.dtype !== b.dtype) return undefined;
  if (a.dtype === "bool" || (a.dtype === "int32" && !INTEGER_OPS.has(op))) return undefined;
  const walk = pair(a.shape, b.shape);
  if (walk === undefined) return undefined;
  const out = allocateLike(call, left, walk.size);
  if (walk.size > 0) call.native.tensorBinary(op, left, right, out, walk.geometry);
  return output(call, walk.shape, a.dtype, out);
}

export function unary(call: Call, op: number, x: tf.TensorInfo, p0 = 0, p1 = 0): tf.TensorInfo | undefined {
  const values = floatsOf(call, x);
  if (values === undefined) return undefined;
  const out = call.backend.allocate(values.length);
  call.native.tensorUnary(op, values, out, p0, p1);
  return output(call, x.shape, "float32", out);
}

const binaryKernel =
  (op: number): Kernel =>
  (call) =>
    binary(call, op, input(call, "a"), input(call, "b"));

const unaryKernel =
  (op: number): Kernel =>
  (call) =>
    unary(call, op, input(call, "x"));

const compareKernel =
  (op: number): Kernel =>
  (call) => {
    const [a, b] = [input(call, "a"), input(call, "b")];
    const [left, right] = [valuesOf(call, a), valuesOf(call, b)];
    if (left === undefined || right === undefined || a.dtype !== b.dtype) return undefined;
    const walk = pair(a.shape, b.shape);
    if (walk === undefined) return undefined;
    const out = new Uint8Array(walk.size);
    if (walk.size > 0) call.native.tensorCompare(op, left, right, out, walk.geometry);
    return output(call, walk.shape, "bool", out);
  };

/** And and Or of 0/1 bytes are their minimum and maximum. */
const logicalKernel =
  (op: number): Kernel =>
  (call) => {
    const [a, b] = [input(call, "a"), input(call, "b")];
    const [left, right] = [valuesOf(call, a), valuesOf(call, b)];
    if (!(left instanceof Uint8Array && right instanceof Uint8Array)) return undefined;
    const walk = pair(a.shape, b.shape);
    if (walk === undefined) return undefined;
    const out = new Uint8Array(walk.size);
    if (walk.size > 0) call.native.tensorBinary(op, left, right, out, walk.geometry);
    return output(call, walk.shape, "bool", out);
  };

const ZERO_FLOAT = new Float32Array(1);
const ZERO_INTEGER = new Int32Array(1);
const ZERO_BYTE = new Uint8Array(1);

function againstZero(call: Call, op: number, x: tf.TensorInfo): tf.TensorInfo | undefined {
  const values = valuesOf(call, x);
  if (values === undefined) return undefined;
  const zero = values instanceof Float32Array ? ZERO_FLOAT : values instanceof Int32Array ? ZERO_INTEGER : ZERO_BYTE;
  const out = new Uint8Array(values.length);
  if (values.length > 0) call.native.tensorCompare(op, values, zero, out, packRun(values.length, 1, 0));
  return output(call, x.shape, "bool", out);
}

const cast: Kernel = (call) => {
  const x = input(call, "x");
  const dtype = textAttr(call.attrs, "dtype");
  if (dtype !== "float32" && dtype !== "int32" && dtype !== "bool") return undefined;
  const values = valuesOf(call, x);
  if (values === undefined) return undefined;
  if (dtype === x.dtype) {
    call.backend.incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype };
  }
  if (dtype === "bool") return againstZero(call, CompareOp.notEqual, x);
  // The engine's own conversion between typed arrays; floats lose their fraction on the way to int32.
  if (dtype === "int32") return output(call, x.shape, dtype, new Int32Array(values));
  const out = call.backend.allocate(values.length);
  out.set(values);
  return output(call, x.shape, dtype, out);
};

const select: Kernel = (call) => {
  const [condition, t, e] = [input(call, "condition"), input(call, "t"), input(call, "e")];
  const [chosen, left, right] = [valuesOf(call, condition), valuesOf(call, t), valuesOf(call, e)];
  if (!(chosen instanceof Uint8Array) || left === undefined || right === undefined) return undefined;
  if (t.dtype !== e.dtype || left instanceof Uint8Array || right instanceof Uint8Array) return undefined;
  if (chosen.length !== left.length || chosen.length !== right.length) return undefined;
  const out = allocateLike(call, left, left.length);
  call.native.tensorSelect(chosen, bits(left), bits(right), bits(out));
  return output(call, t.shape, t.dtype, out);
};

/** Integers pass as the floats of their bits: selecting copies, it does not compute. */
function bits(values: Float32Array | Int32Array | Uint8Array): Float32Array {
  if (values instanceof Float32Array) return values;
  return new Float32Array(values.buffer, values.byteOffset, values.byteLength / Float32Array.BYTES_PER_ELEMENT);
}

const addN: Kernel = (call) => {
  const terms = Object.values(call.inputs).filter((info) => info !== undefined);
  const arrays = terms.map((info) => floatsOf(call, info));
  const first = arrays[0];
  if (first === undefined || terms.length < 2) return undefined;
  const out = call.backend.allocate(first.length);
  let sum = first;
  for (const next of arrays.slice(1)) {
    if (next === undefined || next.length !== first.length) return undefined;
    call.native.tensorBinary(BinaryOp.add, sum, next, out, packRun(first.length, 1, 1));
    sum = out;
  }
  return output(call, terms[0]!.shape, "float32", out);
};

const clip: Kernel = (call) =>
  unary(
    call,
    UnaryOp.clip,
    input(call, "x"),
    numberAttr(call.attrs, "clipValueMin"),
    numberAttr(call.attrs, "clipValueMax"),
  );

export const elementwiseKernels: KernelTable = {
  Add: binaryKernel(BinaryOp.add),
  AddN: addN,
  Sub: binaryKernel(BinaryOp.sub),
  Multiply: binaryKernel(BinaryOp.mul),
  RealDiv: binaryKernel(BinaryOp.div),
  Maximum: binaryKernel(BinaryOp.max),
  Minimum: binaryKernel(BinaryOp.min),
  Pow: binaryKernel(BinaryOp.pow),
  SquaredDifference: binaryKernel(BinaryOp.squaredDifference),
  Equal: compareKernel(CompareOp.equal),
  NotEqual: compareKernel(CompareOp.notEqual),
  Less: compareKernel(CompareOp.less),
  LessEqual: compareKernel(CompareOp.lessEqual),
  Greater: compareKernel(CompareOp.greater),
  GreaterEqual: compareKernel(CompareOp.greaterEqual),
  LogicalAnd: logicalKernel(BinaryOp.min),
  LogicalOr: logicalKernel(BinaryOp.max),
  LogicalNot: (call) => againstZero(call, CompareOp.equal, input(call, "x")),
  Select: select,
  Cast: cast,
  Exp: unaryKernel(UnaryOp.exp),
  Expm1: unaryKernel(UnaryOp.expm1),
  Log: unaryKernel(UnaryOp.log),
  Log1p: unaryKernel(UnaryOp.log1p),
  Sqrt: unaryKernel(UnaryOp.sqrt),
  Rsqrt: unaryKernel(UnaryOp.rsqrt),
  Square: unaryKernel(UnaryOp.square),
  Neg: unaryKernel(UnaryOp.neg),
  Abs: unaryKernel(UnaryOp.abs),
  Relu: unaryKernel(UnaryOp.relu),
  Tanh: unaryKernel(UnaryOp.tanh),
  Sigmoid: unaryKernel(UnaryOp.sigmoid),
  Erf: unaryKernel(UnaryOp.erf),
  Softplus: unaryKernel(UnaryOp.softplus),
  Elu: unaryKernel(UnaryOp.elu),
  Reciprocal: unaryKernel(UnaryOp.reciprocal),
  Step: (call) => unary(call, UnaryOp.step, input(call, "x"), numberAttr(call.attrs, "alpha", 0)),
  LeakyRelu: (call) => unary(call, UnaryOp.leakyRelu, input(call, "x"), numberAttr(call.attrs, "alpha")),
  ClipByValue: clip,
};
