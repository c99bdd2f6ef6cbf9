import type { Matrix } from "../../base/matrix.js";
import type { ParameterSet, ParameterSpec } from "../layers/parameters.js";
import type { RowGradient } from "../terms/term.js";

/**
 * Where item vectors come from. A network reads and is scored against the vectors [N, d] that a tower gives; what
 * training changes are the tower's own parameters and, where it has one, a table of learned vectors [N, d].
 *
 * Towers are linear in both, so they need no tape: `differentiate` turns a gradient of the vectors into one of what the
 * tower is made of.
 */
export interface ItemTower {
  readonly name: string;
  /** Whether part of the vectors is a table with a row for every item. */
  readonly hasTable: boolean;
  /** The dense parameters. */
  specs(): ParameterSpec[];
  /**
   * Vectors of all items.
   *
   * @param table [N, d], where the tower has one
   * @param out [N, d] where to write them; may be `table` itself
   */
  vectors(parameters: ParameterSet, table: Matrix | undefined, out: Matrix): void;
  /** Gradients of the parameters, by name, from one of the vectors. That of a table is the vectors' own. */
  differentiate(gradient: RowGradient): ReadonlyMap<string, Float32Array>;
}
