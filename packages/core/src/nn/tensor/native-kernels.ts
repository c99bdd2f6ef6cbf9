import { native } from "../../ops/native.js";

/** The part of the addon that the tensor backend stands on. */
export type NativeKernels = Pick<
  NonNullable<ReturnType<typeof native>>,
  | "tensorBinary"
  | "tensorCompare"
  | "tensorUnary"
  | "tensorReduce"
  | "tensorArgMax"
  | "tensorSoftmax"
  | "tensorSoftmaxGrad"
  | "tensorMaskedSoftmax"
  | "tensorLayerNorm"
  | "tensorLayerNormGrad"
  | "tensorGeluGrad"
  | "tensorDropout"
  | "tensorSelect"
  | "tensorCopy"
  | "tensorGather"
  | "tensorSegmentSum"
  | "tensorMatmul"
>;

export function nativeKernels(): NativeKernels | undefined {
  return native();
}
