import type { SoftmaxLossArgs, SoftmaxLossOutput } from "@prismrec/native";
import { yieldToEventLoop } from "../../base/abort.js";
import { PrismrecError } from "../../base/errors.js";
import type { CsrMatrix } from "../../base/matrix.js";
import type { RunOptions } from "../../base/run-options.js";
import { checkLength } from "../check.js";
import { variantFor } from "../device.js";
import { callNative, native, runNative } from "../native.js";
import { softmaxLossReference } from "./reference.js";
import type { GradientAllocator, SoftmaxLoss, SoftmaxLossChoice, SoftmaxLossInput, SoftmaxLossValue } from "./types.js";

/**
 * Softmax cross-entropy of rows of interests against items, with gradients: the loss of row r is the mean over its
 * targets t of -log p(t), where p is the softmax of score(r, .) over the catalog (without the row's mask) or over the
 * row's targets and the candidates. Candidates that are a target of the row or masked are left out of it.
 *
 * Memory is O(R * J * d + N * d): the [R * J, N] logits are never whole in memory. Same input, same bits, whatever the
 * number of threads.
 *
 * @param allocate where the gradients of interests and items come from; what they hold does not matter
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT (a row with targets and no present interest among them),
 *   NON_FINITE where an input is not finite or a logit overflows
 */
export function softmaxLossSync(
  input: SoftmaxLossInput & { readonly gradients?: true },
  allocate?: GradientAllocator,
): SoftmaxLoss;
export function softmaxLossSync(
  input: SoftmaxLossInput & SoftmaxLossChoice,
  allocate?: GradientAllocator,
): SoftmaxLossValue & Partial<SoftmaxLoss>;
export function softmaxLossSync(
  input: SoftmaxLossInput & SoftmaxLossChoice,
  allocate?: GradientAllocator,
): SoftmaxLossValue & Partial<SoftmaxLoss> {
  checkSoftmaxLoss(input);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) return finite(softmaxLossReference(input));
  return callNative(() => {
    const args = nativeArgs(input, variant, input.gradients === false ? undefined : allocate);
    return fromOutput(input, addon.softmaxLossSync(args));
  });
}

/** `softmaxLossSync` off the event loop; an aborted signal rejects with its reason. */
export async function softmaxLoss(
  input: SoftmaxLossInput & { readonly gradients?: true },
  run?: RunOptions,
): Promise<SoftmaxLoss>;
export async function softmaxLoss(
  input: SoftmaxLossInput & SoftmaxLossChoice,
  run?: RunOptions,
): Promise<SoftmaxLossValue & Partial<SoftmaxLoss>>;
export async function softmaxLoss(
  input: SoftmaxLossInput & SoftmaxLossChoice,
  run: RunOptions = {},
): Promise<SoftmaxLossValue & Partial<SoftmaxLoss>> {
  checkSoftmaxLoss(input);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) {
    await yieldToEventLoop(run.signal);
    return finite(softmaxLossReference(input));
  }
  const args = nativeArgs(input, variant);
  const output = await runNative(run.signal, (cancel) =>
    addon.softmaxLoss(cancel === undefined ? args : { ...args, cancel }),
  );
  return fromOutput(input, output);
}

function nativeArgs(
  input: SoftmaxLossInput & SoftmaxLossChoice,
  variant: string | undefined,
  allocate?: GradientAllocator,
): SoftmaxLossArgs {
  return {
    rows: input.targets.rows,
    interestsPerRow: input.interestsPerRow,
    itemCount: input.items.rows,
    dim: input.items.cols,
    interests: input.interests.data,
    offsets: input.offsets,
    items: input.items.data,
    itemBias: input.itemBias,
    targetIndptr: input.targets.indptr,
    targetIndices: input.targets.indices,
    maskIndptr: input.mask?.indptr,
    maskIndices: input.mask?.indices,
    readout: input.readout,
    candidates: input.sampled?.ids,
    candidatesPerRow: input.sampled?.perRow,
    logQ: input.sampled?.logQ,
    targetLogQ: input.sampled?.targetLogQ,
    gradients: input.gradients,
    interestGradient: allocate?.("interests", input.interests.data.length),
    itemGradient: allocate?.("items", gradientRows(input) * input.items.cols),
    variant,
  };
}

/** At most. */
function gradientRows({ items, targets, sampled }: SoftmaxLossInput): number {
  if (sampled === undefined) return items.rows;
  return Math.min(items.rows, sampled.ids.length + targets.indices.length);
}

function fromOutput(input: SoftmaxLossInput, output: SoftmaxLossOutput): SoftmaxLossValue & Partial<SoftmaxLoss> {
  const { loss, rowLosses, countedRows, interestGradient, offsetGradient, itemGradient, biasGradient, itemIds } =
    output;
  const value = { loss, rowLosses, countedRows };
  if (!interestGradient || !offsetGradient || !itemGradient || !biasGradient) return value;
  const rows = output.gradientRows ?? input.items.rows;
  return {
    ...value,
    gradients: {
      interests: interestGradient,
      offsets: offsetGradient,
      items: itemGradient.subarray(0, rows * input.items.cols),
      itemBias: biasGradient.subarray(0, rows),
      ...(itemIds === undefined ? {} : { itemIds: itemIds.subarray(0, rows) }),
    },
  };
}

function finite<T extends SoftmaxLossValue>(result: T): T {
  if (Number.isFinite(result.loss)) return result;
  const row = result.rowLosses.findIndex((loss) => !Number.isFinite(loss));
  throw new PrismrecError("NON_FINITE", "the softmax loss is not finite", {
    expected: "finite interests, items, bias and offsets whose inner products fit float32",
    received: row < 0 ? `a mean of ${result.loss}` : `${result.rowLosses[row]} in row ${row}`,
    hint: "A diverging learning rate is the usual cause; look at the step before this one.",
  });
}

function checkSoftmaxLoss(input: SoftmaxLossInput): void {
  const { interests, items, targets, interestsPerRow, offsets, itemBias, mask, sampled } = input;
  if (!Number.isInteger(interestsPerRow) || interestsPerRow < 1) {
    throw new PrismrecError("INVALID_ARGUMENT", "interestsPerRow must be a positive whole number", {
      expected: ">= 1",
      received: String(interestsPerRow),
    });
  }
  if (input.readout !== "log-sum-exp" && input.readout !== "max") {
    throw new PrismrecError("INVALID_ARGUMENT", "unknown readout", {
      expected: '"log-sum-exp" or "max"',
      received: String(input.readout),
    });
  }
  checkLength("interests.data", interests.data.length, interests.rows * interests.cols);
  checkLength("items.data", items.data.length, items.rows * items.cols);
  if (items.rows === 0) {
    throw new PrismrecError("SHAPE_MISMATCH", "items has no rows", { expected: "at least 1", received: "0" });
  }
  if (interests.cols !== items.cols || items.cols === 0) {
    throw new PrismrecError("SHAPE_MISMATCH", "interests and items must share one dimension", {
      expected: `${items.cols} columns, at least 1`,
      received: `${interests.cols} columns`,
    });
  }
  if (interests.rows !== targets.rows * interestsPerRow) {
    throw new PrismrecError("SHAPE_MISMATCH", "interests must have interestsPerRow rows for each row of targets", {
      expected: `${targets.rows} * ${interestsPerRow} rows`,
      received: `${interests.rows} rows`,
    });
  }
  if (offsets !== undefined) checkLength("offsets", offsets.length, interests.rows);
  if (itemBias !== undefined) checkLength("itemBias", itemBias.length, items.rows);
  checkCsr("targets", targets, targets.rows, items.rows);
  if (mask !== undefined) checkCsr("mask", mask, targets.rows, items.rows);
  if (sampled !== undefined) {
    if (sampled.ids.length === 0) {
      throw new PrismrecError("INVALID_ARGUMENT", "sampled.ids is empty", { expected: "at least 1", received: "0" });
    }
    if (sampled.perRow && sampled.ids.length % targets.rows !== 0) {
      throw new PrismrecError("SHAPE_MISMATCH", "sampled.ids must hold as many candidates for each row", {
        expected: `a multiple of ${targets.rows} rows`,
        received: String(sampled.ids.length),
      });
    }
    checkIds("sampled.ids", sampled.ids, items.rows);
    if (sampled.logQ !== undefined) checkLength("sampled.logQ", sampled.logQ.length, sampled.ids.length);
    if (sampled.targetLogQ !== undefined) {
      checkLength("sampled.targetLogQ", sampled.targetLogQ.length, targets.indices.length);
    }
  }
  if (offsets !== undefined) checkPresence(offsets, targets, interestsPerRow);
}

function checkPresence(offsets: Float32Array, targets: CsrMatrix, interestsPerRow: number): void {
  for (let r = 0; r < targets.rows; r++) {
    if (targets.indptr[r] === targets.indptr[r + 1]) continue;
    let absent = 0;
    while (absent < interestsPerRow && offsets[r * interestsPerRow + absent] === Number.NEGATIVE_INFINITY) absent++;
    if (absent < interestsPerRow) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `row ${r} has targets but no interest`, {
      expected: "at least one offset above -Infinity",
      received: `${interestsPerRow} times -Infinity`,
      hint: "Give a row without interests no targets, and it is skipped.",
    });
  }
}

function checkCsr(name: string, matrix: CsrMatrix, rows: number, cols: number): void {
  if (matrix.rows !== rows || matrix.cols !== cols) {
    throw new PrismrecError("SHAPE_MISMATCH", `${name} has the wrong shape`, {
      expected: `${rows} x ${cols}`,
      received: `${matrix.rows} x ${matrix.cols}`,
    });
  }
  checkLength(`${name}.indptr`, matrix.indptr.length, rows + 1);
  for (let r = 0; r < rows; r++) {
    if (matrix.indptr[r + 1]! < matrix.indptr[r]!) {
      throw new PrismrecError("INVALID_ARGUMENT", `${name}.indptr decreases after row ${r}`, {
        expected: "indptr[0] = 0, never decreasing",
        received: `${matrix.indptr[r]} then ${matrix.indptr[r + 1]}`,
      });
    }
  }
  if (matrix.indptr[0] !== 0) {
    throw new PrismrecError("INVALID_ARGUMENT", `${name}.indptr must start at 0`, {
      expected: "0",
      received: String(matrix.indptr[0]),
    });
  }
  checkLength(`${name}.indices`, matrix.indices.length, matrix.indptr[rows]!);
  checkIds(`${name}.indices`, matrix.indices, cols);
}

function checkIds(name: string, ids: Uint32Array, count: number): void {
  for (let n = 0; n < ids.length; n++) {
    if (ids[n]! < count) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `${name}[${n}] is not a row of items`, {
      expected: `0 to ${count - 1}`,
      received: String(ids[n]),
    });
  }
}
