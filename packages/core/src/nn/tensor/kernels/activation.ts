import { UnaryOp } from "../opcodes.js";
import { unary } from "./elementwise.js";
import { floatsOf, input, type Kernel, type KernelTable, numberAttr, output } from "./kernel.js";

const geluGrad: Kernel = (call) => {
  const [x, dy] = [input(call, "x"), input(call, "dy")];
  const [values, upstream] = [floatsOf(call, x), floatsOf(call, dy)];
  if (values === undefined || upstream === undefined) return undefined;
  const out = call.backend.allocate(values.length);
  call.native.tensorGeluGrad(values, upstream, out);
  return output(call, x.shape, "float32", out);
};

const dropout: Kernel = (call) => {
  const x = input(call, "x");
  const values = floatsOf(call, x);
  if (values === undefined) return undefined;
  const out = call.backend.allocate(values.length);
  const [key, threshold, scale] = ["key", "threshold", "scale"].map((name) => numberAttr(call.attrs, name));
  call.native.tensorDropout(values, out, key!, threshold!, scale!);
  return output(call, x.shape, "float32", out);
};

export const activationKernels: KernelTable = {
  PrismrecGelu: (call) => unary(call, UnaryOp.gelu, input(call, "x")),
  PrismrecGeluGrad: geluGrad,
  PrismrecDropout: dropout,
};
