import { hashJson, PrismrecError } from "@prismrec/core/base";
import { bySignatures } from "./by-signatures.js";

/** Years between two centres of the bumps that a year is spread over. */
const STEP = 5;

/**
 * The cheapest thing that a title gives away: the release year. An item's signature is a triangle over its nearest two of a
 * row of centres five years apart, so that the cosine of two items falls with the distance of their years to 0 at ten years.
 */
export const yearClusterer = bySignatures({
  name: "year",
  needs: "nothing",
  asksAbout: "items",
  description: "control: histories are grouped by the items' years",
  async signatures({ catalog }) {
    const years = catalog.items.slice(1).map(({ year }) => year);
    const known = years.filter((year) => year !== undefined);
    if (known.length === 0) {
      throw new PrismrecError("MODEL_UNSUPPORTED", "the clusterer year needs items with a year", {
        expected: "a column of years, or titles that end in one, as in Alien (1979)",
        received: "no year at all",
        hint: "name the column with columns.year, or choose another --clusterer",
      });
    }
    const first = Math.floor(known.reduce((least, year) => Math.min(least, year), Infinity) / STEP);
    const last = Math.floor(known.reduce((most, year) => Math.max(most, year), -Infinity) / STEP) + 1;
    const cols = last - first + 1;
    const data = new Float32Array(catalog.size * cols);
    years.forEach((year, i) => {
      if (year === undefined) return;
      const place = year / STEP - first;
      const below = Math.floor(place);
      data[i * cols + below] = 1 - (place - below);
      data[i * cols + below + 1] = place - below;
    });
    return {
      matrix: { data, rows: catalog.size, cols },
      columns: Array.from({ length: cols }, (_, k) => `around ${(first + k) * STEP}`),
      describes: false,
      fingerprint: hashJson(["year-1", catalog.items.slice(1).map(({ id, year }) => [id, year ?? null])]),
      leastCosine: 0,
      unread: {
        rows: Array.from(years.keys()).filter((row) => years[row] === undefined),
        byCategory: [],
        isBudgetSpent: false,
      },
      report: {},
    };
  },
});
