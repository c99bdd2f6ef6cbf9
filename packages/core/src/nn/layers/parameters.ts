import { PrismrecError } from "../../base/errors.js";
import type { Random } from "../../base/random.js";
import { tensorOf } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";

/** Fills a new parameter; `shape` is the parameter's own. */
export type Initializer = (values: Float32Array, shape: readonly number[], random: Random) => void;

/** A named tensor of a network and how it starts. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Initializer;
}

export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** One step's tensors over the parameters' memory; whoever asked for them disposes of them. */
export type ParameterTensors = Readonly<Record<string, tf.Tensor>>;

export const zeros: Initializer = () => undefined;
export const ones: Initializer = (values) => void values.fill(1);

export function constant(value: number): Initializer {
  return (values) => void values.fill(value);
}

export function gaussian(deviation: number): Initializer {
  return (values, _shape, random) => {
    for (let i = 0; i < values.length; i++) values[i] = random.normal() * deviation;
  };
}

export function uniform(bound: number): Initializer {
  return (values, _shape, random) => {
    for (let i = 0; i < values.length; i++) values[i] = (2 * random.uniform() - 1) * bound;
  };
}

/** The square identity matrix. */
export const identity: Initializer = (values, shape) => {
  const n = shape[0]!;
  for (let i = 0; i < n; i++) values[i * n + i] = 1;
};

/**
 * Specs of an affine map `x W + b`, `<name>/weight` [inputs, outputs] and `<name>/bias` [outputs], both uniform in
 * +-1/sqrt(inputs) unless told otherwise.
 */
export function linearSpecs(
  name: string,
  inputs: number,
  outputs: number,
  options: { readonly weight?: Initializer; readonly bias?: Initializer | false } = {},
): ParameterSpec[] {
  const fallback = uniform(1 / Math.sqrt(inputs));
  const specs: ParameterSpec[] = [
    { name: `${name}/weight`, shape: [inputs, outputs], init: options.weight ?? fallback },
  ];
  if (options.bias !== false) {
    specs.push({ name: `${name}/bias`, shape: [outputs], init: options.bias ?? fallback });
  }
  return specs;
}

export function layerNormSpecs(name: string, dim: number): ParameterSpec[] {
  return [
    { name: `${name}/gamma`, shape: [dim], init: ones },
    { name: `${name}/beta`, shape: [dim], init: zeros },
  ];
}

/** The tensor of that name. */
export function parameter(tensors: ParameterTensors, name: string): tf.Tensor {
  const tensor = tensors[name];
  if (tensor === undefined) {
    throw new PrismrecError("INTERNAL", `the network has no parameter ${name}`, {
      expected: Object.keys(tensors).join(", "),
      received: name,
    });
  }
  return tensor;
}

/** `x W + b` over the last axis: [..., inputs] -> [..., outputs]. */
export function linear(tensors: ParameterTensors, name: string, x: tf.Tensor): tf.Tensor {
  const weight = parameter(tensors, `${name}/weight`) as tf.Tensor2D;
  const [inputs, outputs] = weight.shape;
  const flat = tf.matMul(tf.reshape(x, [-1, inputs]) as tf.Tensor2D, weight);
  const bias = tensors[`${name}/bias`];
  return tf.reshape(bias === undefined ? flat : tf.add(flat, bias), [...x.shape.slice(0, -1), outputs]);
}

/** All dense parameters of a network (the item table is not among them), in the order of their specs. */
export class ParameterSet implements Iterable<Parameter> {
  readonly #parameters: ReadonlyMap<string, Parameter>;

  private constructor(parameters: readonly Parameter[]) {
    this.#parameters = new Map(parameters.map((entry) => [entry.name, entry]));
  }

  static create(specs: readonly ParameterSpec[], random: Random): ParameterSet {
    return new ParameterSet(
      specs.map(({ name, shape, init }) => {
        const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
        init(values, shape, random);
        return { name, shape, values };
      }),
    );
  }

  /**
   * A set with the values that `read` hands out.
   * @throws PrismrecError CHECKPOINT_INCOMPATIBLE where a tensor is missing or of another length
   */
  static from(specs: readonly ParameterSpec[], read: (name: string) => Float32Array | undefined): ParameterSet {
    return new ParameterSet(
      specs.map(({ name, shape }) => {
        const length = shape.reduce((product, extent) => product * extent, 1);
        const values = read(name);
        if (values === undefined || values.length !== length) {
          throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `tensor ${name} does not fit the model`, {
            expected: `shape [${shape.join(", ")}]`,
            received: values === undefined ? "no such tensor" : `${values.length} values`,
            hint: "The checkpoint belongs to a model of another configuration.",
          });
        }
        return { name, shape, values };
      }),
    );
  }

  [Symbol.iterator](): Iterator<Parameter> {
    return this.#parameters.values();
  }

  get(name: string): Parameter | undefined {
    return this.#parameters.get(name);
  }

  /** Number of scalars. */
  get size(): number {
    let size = 0;
    for (const { values } of this) size += values.length;
    return size;
  }

  /** Tensors over the same memory where the backend allows (`prismrec`, `cpu`), else copies. */
  tensors(): Record<string, tf.Tensor> {
    return Object.fromEntries(Array.from(this, ({ name, shape, values }) => [name, tensorOf(values, [...shape])]));
  }
}
