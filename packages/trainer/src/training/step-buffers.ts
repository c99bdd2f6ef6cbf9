import { allocateValues, tf, valuesInPlace } from "@prismrec/core/nn";
import type { GradientAllocator } from "@prismrec/core/ops";

/**
 * Where the gradients of one step after another lie, because fresh memory costs more than most of a step's arithmetic and
 * keeps the garbage collector busy. What a step put here is valid until `release`.
 */
export class StepBuffers {
  readonly #arrays = new Map<string, Float32Array>();
  readonly #tensors: tf.Tensor[] = [];
  #allocated = 0;

  /** An array for `name` of that length; its contents are undefined. */
  floats(name: string, length: number): Float32Array {
    let array = this.#arrays.get(name);
    if (array === undefined || array.length < length) {
      array = new Float32Array(length);
      this.#arrays.set(name, array);
    }
    return array.length === length ? array : array.subarray(0, length);
  }

  /** An array like that of the same call in the step before; its contents are undefined. */
  readonly allocate = (length: number): Float32Array => this.floats(`allocated/${this.#allocated++}`, length);

  /** For the loss. */
  readonly gradients: GradientAllocator = (of, length) => this.floats(`loss/${of}`, length);

  /** For a loss on tfjs's tape: its gradient of the interests becomes a tensor's, that of the items stays here. */
  readonly tapeGradients: GradientAllocator = (of, length) =>
    of === "interests" ? allocateValues(length) : this.gradients(of, length);

  /** Keeps a tensor beyond the scope it was made in, and gives its values where they lie. */
  hold(tensor: tf.Tensor): Float32Array {
    this.#tensors.push(tf.keep(tensor));
    return valuesInPlace(tensor);
  }

  release(): void {
    tf.dispose(this.#tensors);
    this.#tensors.length = 0;
    this.#allocated = 0;
  }
}
