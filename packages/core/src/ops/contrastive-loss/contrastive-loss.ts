import type { ContrastiveLossArgs, ContrastiveLossOutput } from "@prismrec/native";
import { yieldToEventLoop } from "../../base/abort.js";
import { PrismrecError } from "../../base/errors.js";
import type { Matrix } from "../../base/matrix.js";
import type { RunOptions } from "../../base/run-options.js";
import { checkLength } from "../check.js";
import { variantFor } from "../device.js";
import { callNative, native, runNative } from "../native.js";
import { contrastiveLossReference } from "./reference.js";
import type {
  ContrastiveLoss,
  ContrastiveLossChoice,
  ContrastiveLossInput,
  InfoNceInput,
  InfoNceLoss,
  SupervisedContrastiveInput,
  SupervisedContrastiveLoss,
} from "./types.js";

/**
 * Contrastive loss with gradients, of pairs (`kind: "info-nce"`) or of labelled rows inside groups (`kind:
 * "supervised"`): the log-sum-exp of a row's candidates minus the mean logit of its positives.
 *
 * Memory is O(rows * d); similarity matrices exist one cache-sized panel at a time. Same input, same bits, whatever the
 * number of threads.
 *
 * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT, NON_FINITE where an input is not finite or a logit overflows
 */
export function contrastiveLossSync(input: InfoNceInput & { readonly gradients?: true }): InfoNceLoss;
export function contrastiveLossSync(
  input: SupervisedContrastiveInput & { readonly gradients?: true },
): SupervisedContrastiveLoss;
export function contrastiveLossSync(input: ContrastiveLossInput & ContrastiveLossChoice): ContrastiveLoss;
export function contrastiveLossSync(input: ContrastiveLossInput & ContrastiveLossChoice): ContrastiveLoss {
  checkContrastiveLoss(input);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) return finite(contrastiveLossReference(input));
  return callNative(() => {
    return fromOutput(input, addon.contrastiveLossSync(nativeArgs(input, variant)));
  });
}

/** `contrastiveLossSync` off the event loop; an aborted signal rejects with its reason. */
export async function contrastiveLoss(
  input: InfoNceInput & { readonly gradients?: true },
  run?: RunOptions,
): Promise<InfoNceLoss>;
export async function contrastiveLoss(
  input: SupervisedContrastiveInput & { readonly gradients?: true },
  run?: RunOptions,
): Promise<SupervisedContrastiveLoss>;
export async function contrastiveLoss(
  input: ContrastiveLossInput & ContrastiveLossChoice,
  run?: RunOptions,
): Promise<ContrastiveLoss>;
export async function contrastiveLoss(
  input: ContrastiveLossInput & ContrastiveLossChoice,
  run: RunOptions = {},
): Promise<ContrastiveLoss> {
  checkContrastiveLoss(input);
  const variant = variantFor(input);
  const addon = variant === "typescript" ? undefined : native();
  if (addon === undefined) {
    await yieldToEventLoop(run.signal);
    return finite(contrastiveLossReference(input));
  }
  const args = nativeArgs(input, variant);
  const output = await runNative(run.signal, (cancel) =>
    addon.contrastiveLoss(cancel === undefined ? args : { ...args, cancel }),
  );
  return fromOutput(input, output);
}

function nativeArgs(
  input: ContrastiveLossInput & ContrastiveLossChoice,
  variant: string | undefined,
): ContrastiveLossArgs {
  const rows = input.kind === "supervised" ? input.rows : input.queries;
  const common = {
    kind: input.kind,
    similarity: input.similarity,
    temperature: input.temperature,
    // "none" differs from "sum" only in what the caller looks at.
    reduction: (input.reduction ?? "mean") === "mean" ? "mean" : "sum",
    rowCount: rows.rows,
    dim: rows.cols,
    rows: rows.data,
    gradients: input.gradients,
    variant,
  } as const;
  if (input.kind === "supervised") {
    return { ...common, groups: input.groups, labels: input.labels, scope: input.scope, itemIds: input.itemIds };
  }
  return {
    ...common,
    positives: input.positives.data,
    negativeCount: input.negatives?.rows,
    negatives: input.negatives?.data,
    logQ: input.logQ,
    positiveIds: input.positiveIds,
    negativeIds: input.negativeIds,
    symmetric: input.direction === "symmetric",
  };
}

function fromOutput(input: ContrastiveLossInput, output: ContrastiveLossOutput): ContrastiveLoss {
  const { loss, rowLosses, countedRows, rowGradient, positiveGradient, negativeGradient } = output;
  const value = { loss, rowLosses, countedRows };
  if (rowGradient === undefined) return value;
  if (input.kind === "supervised") return { ...value, gradients: { rows: rowGradient } };
  if (positiveGradient === undefined) return value;
  return {
    ...value,
    gradients: {
      queries: rowGradient,
      positives: positiveGradient,
      ...(negativeGradient === undefined ? {} : { negatives: negativeGradient }),
    },
  };
}

function finite(result: ContrastiveLoss): ContrastiveLoss {
  if (Number.isFinite(result.loss)) return result;
  const row = result.rowLosses.findIndex((loss) => !Number.isFinite(loss));
  throw new PrismrecError("NON_FINITE", "the contrastive loss is not finite", {
    expected: "finite rows whose similarities over the temperature fit float32",
    received: row < 0 ? `a sum of ${result.loss}` : `${result.rowLosses[row]} in row ${row}`,
    hint: 'A diverging learning rate or too small a temperature with similarity "dot" are the usual causes.',
  });
}

function checkContrastiveLoss(input: ContrastiveLossInput): void {
  const { kind, similarity, temperature, reduction } = input;
  checkChoice("kind", kind, ["info-nce", "supervised"]);
  checkChoice("similarity", similarity, ["cosine", "dot"]);
  if (reduction !== undefined) checkChoice("reduction", reduction, ["mean", "sum", "none"]);
  if (!(temperature > 0 && Number.isFinite(temperature))) {
    throw new PrismrecError("INVALID_ARGUMENT", "temperature must be a positive number", {
      expected: "> 0",
      received: String(temperature),
      hint: "0.05 to 0.5 is usual for cosine similarity.",
    });
  }
  if (input.kind === "supervised") checkSupervised(input);
  else checkInfoNce(input);
}

function checkInfoNce(input: InfoNceInput): void {
  const { queries, positives, negatives, logQ, positiveIds, negativeIds, direction } = input;
  if (direction !== undefined) checkChoice("direction", direction, ["query-to-positive", "symmetric"]);
  checkMatrix("queries", queries);
  checkMatrix("positives", positives);
  if (positives.rows !== queries.rows || positives.cols !== queries.cols) {
    throw new PrismrecError("SHAPE_MISMATCH", "positives must have the shape of queries", {
      expected: `${queries.rows} x ${queries.cols}`,
      received: `${positives.rows} x ${positives.cols}`,
    });
  }
  if (negatives !== undefined) {
    checkMatrix("negatives", negatives);
    if (negatives.cols !== queries.cols) {
      throw new PrismrecError("SHAPE_MISMATCH", "negatives must have the dimension of queries", {
        expected: `${queries.cols} columns`,
        received: `${negatives.cols} columns`,
      });
    }
  }
  if (logQ !== undefined) checkLength("logQ", logQ.length, queries.rows + (negatives?.rows ?? 0));
  if (positiveIds !== undefined) checkLength("positiveIds", positiveIds.length, queries.rows);
  if (negativeIds !== undefined) {
    checkLength("negativeIds", negativeIds.length, negatives?.rows ?? 0);
    if (positiveIds === undefined) {
      throw new PrismrecError("INVALID_ARGUMENT", "negativeIds without positiveIds", {
        expected: "positiveIds beside negativeIds",
        received: "negativeIds alone",
        hint: "The ids of the negatives are compared with the ids of the positives.",
      });
    }
  }
}

function checkSupervised({ rows, groups, labels, scope, itemIds }: SupervisedContrastiveInput): void {
  checkChoice("scope", scope, ["group", "batch"]);
  checkMatrix("rows", rows);
  checkLength("groups", groups.length, rows.rows);
  checkLength("labels", labels.length, rows.rows);
  if (itemIds !== undefined) checkLength("itemIds", itemIds.length, rows.rows);
  const bad = labels.findIndex((label) => label < -1);
  if (bad >= 0) {
    throw new PrismrecError("INVALID_ARGUMENT", `labels[${bad}] is out of range`, {
      expected: "-1 (no label) or more",
      received: String(labels[bad]),
    });
  }
}

function checkMatrix(name: string, matrix: Matrix): void {
  checkLength(`${name}.data`, matrix.data.length, matrix.rows * matrix.cols);
  if (matrix.cols >= 1) return;
  throw new PrismrecError("SHAPE_MISMATCH", `${name} has no columns`, {
    expected: "at least 1 column",
    received: String(matrix.cols),
  });
}

function checkChoice(name: string, received: string, choices: readonly string[]): void {
  if (choices.includes(received)) return;
  throw new PrismrecError("INVALID_ARGUMENT", `unknown ${name}`, {
    expected: choices.map((choice) => `"${choice}"`).join(" or "),
    received: String(received),
  });
}
