import { PrismrecError } from "../base/errors.js";
import type { Model } from "./model.js";

export interface Choice<M extends Model> {
  readonly model: M;
  /** What the model was fitted with. */
  readonly value: number;
  /** What `choose` said of every value; absent without it. */
  readonly validation?: Readonly<Record<string, number>>;
}

/**
 * The best model of those fitted with each of `values`, the earlier among equals; without `choose` the first.
 *
 * @param what one of `values`, in words
 * @throws PrismrecError CONFIG_INVALID for no values
 */
export async function chooseBest<M extends Model>(
  what: string,
  values: readonly number[],
  fit: (value: number) => M | Promise<M>,
  choose?: (model: M) => Promise<number>,
): Promise<Choice<M>> {
  const validation: Record<string, number> = {};
  let best: (Choice<M> & { readonly judged: number }) | undefined;
  for (const value of values) {
    const model = await fit(value);
    if (choose === undefined) return { model, value };
    const judged = await choose(model);
    validation[String(value)] = judged;
    if (best === undefined || judged > best.judged) best = { model, value, judged };
  }
  if (best === undefined) throw new PrismrecError("CONFIG_INVALID", `${what} is needed to fit with`);
  return { model: best.model, value: best.value, validation };
}
