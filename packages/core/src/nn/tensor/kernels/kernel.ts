import { PrismrecError } from "../../../base/errors.js";
import type { NativeKernels } from "../native-kernels.js";
import type { PrismrecBackend } from "../prismrec-backend.js";
import type { tf } from "../tfjs.js";

export type Values = Float32Array | Int32Array | Uint8Array;
export type Inputs = Readonly<Record<string, tf.TensorInfo | undefined>>;
export type Attrs = tf.NamedAttrMap;

/** One dispatch of a kernel on the prismrec backend. */
export interface Call {
  readonly inputs: Inputs;
  readonly attrs: Attrs;
  readonly backend: PrismrecBackend;
  readonly native: NativeKernels;
}

/** Runs natively, or gives undefined where it does not cover the case: tfjs's own kernel then does. */
export type Kernel = (call: Call) => tf.TensorInfo | tf.TensorInfo[] | undefined;

export type KernelTable = Readonly<Record<string, Kernel>>;

export function input(call: Call, name: string): tf.TensorInfo {
  const info = call.inputs[name];
  if (info === undefined) throw new PrismrecError("INTERNAL", `a tensor kernel lacks its input ${name}`);
  return info;
}

/** The values of a tensor where they lie, or undefined for strings and complex numbers. */
export function valuesOf(call: Call, info: tf.TensorInfo): Values | undefined {
  const { values } = call.backend.data.get(info.dataId);
  switch (info.dtype) {
    case "float32":
      return values instanceof Float32Array ? values : converted(values, Float32Array);
    case "int32":
      return values instanceof Int32Array ? values : converted(values, Int32Array);
    case "bool":
      return values instanceof Uint8Array ? values : converted(values, Uint8Array);
    default:
      return undefined;
  }
}

/** Values of a float32 tensor, or undefined for any other. */
export function floatsOf(call: Call, info: tf.TensorInfo): Float32Array | undefined {
  const values = valuesOf(call, info);
  return values instanceof Float32Array ? values : undefined;
}

// tfjs's own kernels at times leave an array of another type behind a dtype (a bool cast to float32 shares its bytes).
function converted<T extends Values>(values: unknown, type: new (from: ArrayLike<number>) => T): T | undefined {
  if (values instanceof Float32Array || values instanceof Int32Array || values instanceof Uint8Array) {
    return new type(values);
  }
  return Array.isArray(values) && values.every((v) => typeof v === "number") ? new type(values) : undefined;
}

/** An output array of the same kind as `like`; every element is to be written. */
export function allocateLike(call: Call, like: Values, length: number): Values {
  if (like instanceof Float32Array) return call.backend.allocate(length);
  return like instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length);
}

export function output(call: Call, shape: readonly number[], dtype: tf.DataType, values: Values): tf.TensorInfo {
  return call.backend.makeTensorInfo([...shape], dtype, values);
}

/** The same data under another shape or name, one reference more. */
export function alias(call: Call, info: tf.TensorInfo, shape: readonly number[] = info.shape): tf.TensorInfo {
  call.backend.incRef(info.dataId);
  return { dataId: info.dataId, shape: [...shape], dtype: info.dtype };
}

export function numberAttr(attrs: Attrs, name: string, absent?: number): number {
  const value = attrs[name];
  if (typeof value === "number") return value;
  if (value === undefined || value === null) {
    if (absent !== undefined) return absent;
  }
  throw new PrismrecError("INTERNAL", `a tensor kernel lacks its number ${name}`);
}

export function numbersAttr(attrs: Attrs, name: string): number[] | undefined {
  const value = attrs[name];
  if (typeof value === "number") return [value];
  if (!Array.isArray(value)) return undefined;
  return value.filter((entry): entry is number => typeof entry === "number");
}

export function flagAttr(attrs: Attrs, name: string): boolean {
  return attrs[name] === true;
}

export function textAttr(attrs: Attrs, name: string): string | undefined {
  const value = attrs[name];
  return typeof value === "string" ? value : undefined;
}
