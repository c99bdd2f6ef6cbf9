import { broadcastStrides, packWalk, sizeOf, stridesOf } from "../geometry.js";
import { type Call, floatsOf, input, type Kernel, type KernelTable, numberAttr, output, valuesOf } from "./kernel.js";

/** A tensor as rows along its last axis. */
function rowsOf(shape: readonly number[]): [rows: number, cols: number] {
  return [sizeOf(shape.slice(0, -1)), shape.at(-1) ?? 1];
}

const softmax: Kernel = (call) => {
  const logits = input(call, "logits");
  const values = floatsOf(call, logits);
  const dim = numberAttr(call.attrs, "dim", -1);
  if (values === undefined || (dim !== -1 && dim !== logits.shape.length - 1)) return undefined;
  const out = call.backend.allocate(values.length);
  call.native.tensorSoftmax(values, out, ...rowsOf(logits.shape), false);
  return output(call, logits.shape, "float32", out);
};

const softmaxGrad: Kernel = (call) => {
  const [y, dy] = [input(call, "y"), input(call, "dy")];
  const [values, upstream] = [floatsOf(call, y), floatsOf(call, dy)];
  if (values === undefined || upstream === undefined) return undefined;
  const out = call.backend.allocate(values.length);
  call.native.tensorSoftmaxGrad(values, upstream, out, ...rowsOf(y.shape), false);
  return output(call, y.shape, "float32", out);
};

const maskedSoftmax: Kernel = (call: Call) => {
  const [x, mask] = [input(call, "x"), input(call, "mask")];
  const [values, seen] = [floatsOf(call, x), valuesOf(call, mask)];
  const lead = x.shape.slice(0, -1);
  const cols = x.shape.at(-1);
  if (values === undefined || seen === undefined || cols === undefined) return undefined;
  const strides = broadcastStrides(mask.shape, x.shape);
  const rows = packWalk(lead, stridesOf(x.shape).slice(0, -1), strides.slice(0, -1));
  if (rows === undefined || (strides.at(-1) !== 1 && cols !== 1)) return undefined;
  const out = call.backend.allocate(values.length);
  if (values.length > 0) call.native.tensorMaskedSoftmax(values, seen, out, rows, cols);
  return output(call, x.shape, "float32", out);
};

const layerNorm: Kernel = (call) => {
  const [x, gamma, beta] = [input(call, "x"), input(call, "gamma"), input(call, "beta")];
  const [values, scale, shift] = [floatsOf(call, x), floatsOf(call, gamma), floatsOf(call, beta)];
  if (values === undefined || scale === undefined || shift === undefined) return undefined;
  const [rows, cols] = rowsOf(x.shape);
  const y = call.backend.allocate(values.length);
  const [mean, rstd] = [call.backend.allocate(rows), call.backend.allocate(rows)];
  const epsilon = numberAttr(call.attrs, "epsilon");
  call.native.tensorLayerNorm(values, scale, shift, y, mean, rstd, rows, cols, epsilon);
  return [
    output(call, x.shape, "float32", y),
    output(call, [rows], "float32", mean),
    output(call, [rows], "float32", rstd),
  ];
};

const layerNormGrad: Kernel = (call) => {
  const names = ["x", "gamma", "mean", "rstd", "dy"] as const;
  const [x, gamma, mean, rstd, dy] = names.map((name) => floatsOf(call, input(call, name)));
  if (!x || !gamma || !mean || !rstd || !dy) return undefined;
  const { shape } = input(call, "x");
  const [rows, cols] = rowsOf(shape);
  const dx = call.backend.allocate(x.length);
  const [dgamma, dbeta] = [call.backend.allocate(cols), call.backend.allocate(cols)];
  call.native.tensorLayerNormGrad(x, gamma, mean, rstd, dy, dx, dgamma, dbeta, rows, cols);
  return [
    output(call, shape, "float32", dx),
    output(call, [cols], "float32", dgamma),
    output(call, [cols], "float32", dbeta),
  ];
};

export const rowKernels: KernelTable = {
  Softmax: softmax,
  PrismrecSoftmaxGrad: softmaxGrad,
  PrismrecMaskedSoftmax: maskedSoftmax,
  PrismrecLayerNorm: layerNorm,
  PrismrecLayerNormGrad: layerNormGrad,
};
