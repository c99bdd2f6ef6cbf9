import { broadcastStrides, packWalk, sameShape, sizeOf } from "../geometry.js";
import { BinaryOp, UnaryOp } from "../opcodes.js";
import { tf } from "../tfjs.js";
import { unary } from "./elementwise.js";
import {
  type Call,
  flagAttr,
  floatsOf,
  input,
  type Kernel,
  type KernelTable,
  numberAttr,
  output,
  textAttr,
} from "./kernel.js";

const ONE_MATRIX = new Uint32Array(1);

/** Where each matrix of the output's batch finds its operand, in elements. */
function batchOffsets(batch: readonly number[], shape: readonly number[], matrix: number): Uint32Array {
  const strides = broadcastStrides(shape, batch);
  const offsets = new Uint32Array(sizeOf(batch));
  const index = new Array<number>(batch.length).fill(0);
  let at = 0;
  for (let i = 0; i < offsets.length; i++) {
    offsets[i] = at * matrix;
    for (let d = batch.length - 1; d >= 0; d--) {
      at += strides[d]!;
      if (++index[d]! < batch[d]!) break;
      at -= strides[d]! * batch[d]!;
      index[d] = 0;
    }
  }
  return offsets;
}

function matmul(call: Call): tf.TensorInfo | undefined {
  const [a, b] = [input(call, "a"), input(call, "b")];
  const [left, right] = [floatsOf(call, a), floatsOf(call, b)];
  if (left === undefined || right === undefined) return undefined;
  const transposeA = flagAttr(call.attrs, "transposeA");
  const transposeB = flagAttr(call.attrs, "transposeB");
  const [rowsA, colsA] = [a.shape.at(-2)!, a.shape.at(-1)!];
  const [rowsB, colsB] = [b.shape.at(-2)!, b.shape.at(-1)!];
  const [m, k] = transposeA ? [colsA, rowsA] : [rowsA, colsA];
  const [n, inner] = transposeB ? [rowsB, colsB] : [colsB, rowsB];
  tf.util.assert(
    k === inner,
    () => `matMul: inner dimensions ${k} and ${inner} of [${a.shape}] and [${b.shape}] differ`,
  );
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = tf.backend_util.assertAndGetBroadcastShape(batchA, batchB);
  const count = sizeOf(batch);
  const out = call.backend.allocate(count * m * n);
  const shape = [...batch, m, n];
  if (out.length === 0) return output(call, shape, "float32", out);
  if (!transposeA && sizeOf(batchB) === 1 && sameShape(batchA, batch)) {
    // One right-hand side for the whole batch: one tall product.
    call.native.tensorMatmul(left, right, out, ONE_MATRIX, ONE_MATRIX, count * m, n, k, false, transposeB);
    return output(call, shape, "float32", out);
  }
  const offsetsA = count === 1 ? ONE_MATRIX : batchOffsets(batch, batchA, m * k);
  const offsetsB = count === 1 ? ONE_MATRIX : batchOffsets(batch, batchB, k * n);
  call.native.tensorMatmul(left, right, out, offsetsA, offsetsB, m, n, k, transposeA, transposeB);
  return output(call, shape, "float32", out);
}

function activate(call: Call, x: tf.TensorInfo): tf.TensorInfo | undefined {
  switch (textAttr(call.attrs, "activation")) {
    case undefined:
    case "linear":
      return x;
    case "relu":
      return unary(call, UnaryOp.relu, x);
    case "relu6":
      return unary(call, UnaryOp.clip, x, 0, 6);
    case "elu":
      return unary(call, UnaryOp.elu, x);
    case "sigmoid":
      return unary(call, UnaryOp.sigmoid, x);
    case "leakyrelu":
      return unary(call, UnaryOp.leakyRelu, x, numberAttr(call.attrs, "leakyreluAlpha", 0.2));
    default:
      return undefined;
  }
}

/** Adds to an array that this call has just made, in place; false where the bias does not run along the last axis. */
function addBias(call: Call, sum: Float32Array, bias: tf.TensorInfo, columns: number): boolean {
  const values = floatsOf(call, bias);
  if (values === undefined || (values.length !== columns && values.length !== 1)) return false;
  const rows = columns === 0 ? 0 : sum.length / columns;
  const step = values.length === 1 ? 0 : 1;
  const walk = packWalk([rows, columns], [columns, 1], [0, step]);
  if (walk === undefined) return false;
  if (sum.length > 0) call.native.tensorBinary(BinaryOp.add, sum, values, sum, walk);
  return true;
}

const fusedMatmul: Kernel = (call) => {
  if (textAttr(call.attrs, "activation") === "prelu") return undefined;
  const product = matmul(call);
  if (product === undefined) return undefined;
  const { bias } = call.inputs;
  const values = floatsOf(call, product);
  const biased = bias === undefined || (values !== undefined && addBias(call, values, bias, product.shape.at(-1)!));
  const result = biased ? activate(call, product) : undefined;
  if (result !== product) call.backend.disposeIntermediateTensorInfo(product);
  return result;
};

export const matmulKernels: KernelTable = { BatchMatMul: matmul, _FusedMatMul: fusedMatmul };
