import { z } from "zod";
import { type ErrorInfo, isPrismrecError, type PrismrecError } from "../base/errors.js";
import { jsonPointer } from "../base/json-pointer.js";
import { suggest } from "../base/suggest.js";
import { itemColumn, itemColumnNames, MISSING_BOOLEAN } from "../data/columns.js";
import type { Catalog } from "../data/types.js";
import { documentError, faultAt } from "./document-error.js";
import { compileFilter, type ItemFilter, itemFilterSchema } from "./filter.js";

const moment = z.union([z.iso.date(), z.iso.datetime({ offset: true })], {
  error: "a day (2026-12-24) or a time with its zone (2026-12-24T18:00:00Z)",
});
const validity = {
  name: z.string().min(1).max(200).describe("for people; it stands in the answers").exactOptional(),
  from: moment.describe("a day, of UTC, or a time with its zone; from then on").exactOptional(),
  to: moment.describe("as `from`: until then, and no longer at that moment").exactOptional(),
};
const itemId = z.string().min(1).max(512);

/** The document of business rules: what a shop wants of its lists beside what the model says. */
export const rulesSchema = z
  .strictObject({
    $schema: z.string().exactOptional(),
    pin: z
      .array(
        z.strictObject({
          item: itemId,
          position: z.int().min(1).max(1000).describe("in the list with all its pages, counted from 1"),
          ...validity,
        }),
      )
      .default([])
      .describe("items that have a place of their own in every list that may hold them"),
    bury: z
      .array(
        z
          .strictObject({
            items: z.array(itemId).min(1).describe("ids").exactOptional(),
            where: itemFilterSchema.exactOptional(),
            ...validity,
          })
          .refine(({ items, where }) => (items === undefined) !== (where === undefined), {
            message: "either items or where",
          })
          .refine(({ where }) => where === undefined || Object.keys(where).length > 0, {
            message: "a condition at least, or every item would be buried",
            path: ["where"],
          }),
      )
      .default([])
      .describe("items that are listed only where nothing else is left"),
    limit: z
      .array(
        z
          .strictObject({
            column: z.string().min(1).describe("a column of the items; of a list every member counts"),
            most: z.int().min(1).describe("most items of one value"),
            within: z
              .int()
              .min(2)
              .describe("among so many places in a row; absent: in the list with all its pages")
              .exactOptional(),
            ...validity,
          })
          .refine(({ most, within }) => within === undefined || within > most, {
            message: "more places than `most`, or the limit could never act",
            path: ["within"],
          }),
      )
      .default([])
      .describe("at most so many items of one value of a column"),
    calibrate: z
      .strictObject({
        weight: z.number().gt(0).max(1).describe("of the mix against the score: near 0 little, 1 the mix alone"),
        ...validity,
      })
      .describe("a mix of interests in every list that is like the user's shares")
      .exactOptional(),
  })
  .describe("business rules of a recommender");

export type RawRules = z.input<typeof rulesSchema>;

const REFERENCE = "docs/reference/rules.md says what each rule takes.";

/** A rule by its place in the document. */
interface Placed {
  /** JSON pointer, such as #/pin/0. */
  readonly pointer: string;
  readonly name?: string;
}

export interface Pin extends Placed {
  /** Dense id. */
  readonly item: number;
  /** In the list with all its pages, from 1. */
  readonly position: number;
}

export interface Limit extends Placed {
  readonly most: number;
  /** Places in a row; undefined: the list with all its pages. */
  readonly within?: number;
  /** Numbers that stand for the values of a dense id; none where the column says nothing of it. */
  valuesOf(item: number): readonly number[];
}

interface Bury extends Placed {
  /** [ceil(N / 32)] as `compileFilter`. */
  readonly items: Uint32Array;
}

interface Calibrate extends Placed {
  readonly weight: number;
}

/** The rules of one moment. */
export interface ActiveRules {
  readonly pins: readonly Pin[];
  readonly limits: readonly Limit[];
  readonly calibrate: Calibrate | undefined;
  /** Pointer of the first rule that buries a dense id. */
  buriedBy(item: number): string | undefined;
}

type Valid<Rule> = Rule & { readonly since: number; readonly until: number };

/** Business rules that fit a catalog. */
export class Rules {
  /** How many there are, of whatever time. */
  readonly size: number;
  readonly #names: ReadonlyMap<string, string>;

  private constructor(
    private readonly pins: readonly Valid<Pin>[],
    private readonly buries: readonly Valid<Bury>[],
    private readonly limits: readonly Valid<Limit>[],
    private readonly calibrations: readonly Valid<Calibrate>[],
  ) {
    const all: readonly Placed[] = [...pins, ...buries, ...limits, ...calibrations];
    this.size = all.length;
    this.#names = new Map(all.flatMap(({ pointer, name }) => (name === undefined ? [] : [[pointer, name] as const])));
  }

  /**
   * @param source what to call the document in errors, such as its path
   * @param interests whether the model tells interests
   * @throws PrismrecError CONFIG_INVALID with a JSON pointer to the part that cannot be: its form, an item or a column that the
   *   catalog lacks, two pins for one place, a mix of interests for a model without any
   */
  static compile(raw: unknown, catalog: Catalog, interests: boolean, source = "rules"): Rules {
    const parsed = rulesSchema.safeParse(raw);
    const fault = (path: readonly PropertyKey[], detail: string, more: ErrorInfo = {}): PrismrecError =>
      faultAt(raw, source, path, detail, more);
    if (!parsed.success) throw documentError(parsed.error, raw, source, REFERENCE);
    const { pin, bury, limit, calibrate } = parsed.data;
    const denseOf = (id: string, path: readonly PropertyKey[]): number => {
      const dense = catalog.idOf(id);
      if (dense !== undefined) return dense;
      throw fault(path, `the catalog has no item ${id}`, { expected: `one of ${catalog.size} items` });
    };
    const valid = <Rule>(
      rule: { readonly name?: string; readonly from?: string; readonly to?: string },
      path: readonly PropertyKey[],
      own: Rule,
    ): Valid<Rule & Placed> => {
      const since = rule.from === undefined ? -Infinity : Date.parse(rule.from);
      const until = rule.to === undefined ? Infinity : Date.parse(rule.to);
      if (since >= until)
        throw fault([...path, "to"], "the rule ends before it begins", { expected: `after ${rule.from}` });
      const name = rule.name === undefined ? {} : { name: rule.name };
      return { ...own, pointer: jsonPointer(path), ...name, since, until };
    };
    const pins = pin.map((rule, n) => {
      const path = ["pin", n];
      return valid(rule, path, { item: denseOf(rule.item, [...path, "item"]), position: rule.position });
    });
    for (const [n, a] of pins.entries()) {
      for (const b of pins.slice(0, n)) {
        if (a.since >= b.until || b.since >= a.until) continue;
        if (a.position === b.position)
          throw fault(["pin", n, "position"], `${b.pointer} has this place at the same time`);
        if (a.item === b.item)
          throw fault(["pin", n, "item"], `${b.pointer} has another place for it at the same time`);
      }
    }
    const buries = bury.map((rule, n) => {
      const path = ["bury", n];
      const ids = rule.items?.map((id, at) => denseOf(id, [...path, "items", at]));
      const items = ids === undefined ? filtered(rule.where ?? {}, [...path, "where"]) : bitsOf(ids, catalog.size);
      return valid(rule, path, { items });
    });
    function filtered(where: ItemFilter, path: readonly PropertyKey[]): Uint32Array {
      const bits = new Uint32Array(Math.ceil(catalog.size / 32)).fill(~0);
      for (const [column, condition] of Object.entries(where)) {
        try {
          compileFilter(catalog, { [column]: condition }).forEach((word, n) => {
            bits[n]! &= word;
          });
        } catch (error) {
          if (!isPrismrecError(error)) throw error;
          const { message, expected, received, hint } = error;
          throw fault([...path, column], message, { ...given({ expected, received, hint }), cause: error });
        }
      }
      return bits;
    }
    const limits = limit.map((rule, n) => {
      const path = ["limit", n];
      const valuesOf = columnValues(catalog, rule.column);
      if (valuesOf === undefined) {
        const names = itemColumnNames(catalog);
        const meant = suggest(rule.column, names);
        throw fault([...path, "column"], `items have no column "${rule.column}"`, {
          expected: `one of: ${names.join(", ")}`.slice(0, 400),
          ...(meant === undefined ? {} : { hint: `Did you mean "${meant}"?` }),
        });
      }
      const { most, within } = rule;
      return valid(rule, path, { most, ...(within === undefined ? {} : { within }), valuesOf });
    });
    if (calibrate !== undefined && !interests) {
      throw fault(["calibrate"], "the model tells no interests that could be mixed", {
        hint: "docs/reference/models.md lists what each model tells.",
      });
    }
    const calibrations = calibrate === undefined ? [] : [valid(calibrate, ["calibrate"], { weight: calibrate.weight })];
    return new Rules(pins, buries, limits, calibrations);
  }

  /** @internal Those that hold at a moment; undefined: none does. */
  at(moment: Date): ActiveRules | undefined {
    const time = moment.getTime();
    const holding = <Rule>(rules: readonly Valid<Rule>[]): Valid<Rule>[] =>
      rules.filter(({ since, until }) => since <= time && time < until);
    const [pins, buries, limits] = [holding(this.pins), holding(this.buries), holding(this.limits)];
    const [calibrate] = holding(this.calibrations);
    if (pins.length + buries.length + limits.length === 0 && calibrate === undefined) return undefined;
    return {
      pins: pins.sort((a, b) => a.position - b.position),
      limits,
      calibrate,
      buriedBy: (item) => buries.find(({ items }) => hasBit(items, item))?.pointer,
    };
  }

  /** @internal What a rule is called; undefined: it has no name. */
  nameOf(pointer: string): string | undefined {
    return this.#names.get(pointer);
  }
}

/** No rule at all. */
export const NO_RULES: ActiveRules = { pins: [], limits: [], calibrate: undefined, buriedBy: () => undefined };

const given = (info: { readonly [name in "expected" | "received" | "hint"]: string | undefined }): ErrorInfo =>
  Object.fromEntries(Object.entries(info).filter(([, value]) => value !== undefined));

/** [ceil(size / 32)] dense ids as bits. */
export function bitsOf(ids: Iterable<number>, size: number): Uint32Array {
  const bits = new Uint32Array(Math.ceil(size / 32));
  for (const id of ids) bits[(id - 1) >> 5]! |= 1 << ((id - 1) & 31);
  return bits;
}

const hasBit = (bits: Uint32Array, id: number): boolean => (bits[(id - 1) >> 5]! & (1 << ((id - 1) & 31))) !== 0;

/** The values of a column as numbers that stand for them; undefined: there is no such column. */
function columnValues(catalog: Catalog, name: string): Limit["valuesOf"] | undefined {
  const column = itemColumn(catalog, name);
  if (column === undefined) return undefined;
  switch (column.kind) {
    case "number":
      return (item) => (Number.isNaN(column.values[item]!) ? [] : [column.values[item]!]);
    case "boolean":
      return (item) => (column.values[item] === MISSING_BOOLEAN ? [] : [column.values[item]!]);
    case "text":
      return (item) => (column.codes[item] === 0 ? [] : [column.codes[item]!]);
    default:
      return (item) => Array.from(column.codes.subarray(column.indptr[item], column.indptr[item + 1]));
  }
}
