import { PrismrecError } from "../base/errors.js";
import { pairedDifferences } from "./paired.js";

/** Largest sample whose null distribution is counted rather than approximated, where no differences tie. */
const EXACT_MOST = 50;

export interface SignedRank {
  /** Smaller of the rank sums of positive and negative differences. */
  readonly statistic: number;
  /** Two-sided: how often so uneven a pair of rank sums comes about where neither side is better. 1 without differences. */
  readonly pValue: number;
  /** Pairs that differ: the others say nothing. */
  readonly pairs: number;
}

/**
 * Wilcoxon's signed-rank test of two models' values for the same users (Wilcoxon 1945). Pairs that are equal are left
 * out, tied differences share their mean rank. The null distribution is counted for up to 50 differences without ties,
 * and normal with a correction for ties beyond.
 *
 * @throws PrismrecError SHAPE_MISMATCH for different numbers of users, NON_FINITE
 */
export function wilcoxonSignedRank(a: ArrayLike<number>, b: ArrayLike<number>): SignedRank {
  const differences = pairedDifferences(a, b).filter((difference) => difference !== 0);
  const n = differences.length;
  if (differences.some((difference) => !Number.isFinite(difference))) {
    throw new PrismrecError("NON_FINITE", "a paired comparison needs finite values");
  }
  if (n === 0) return { statistic: 0, pValue: 1, pairs: 0 };
  differences.sort((x, y) => Math.abs(x) - Math.abs(y));
  let positive = 0;
  let ties = 0;
  for (let from = 0; from < n; ) {
    let to = from + 1;
    while (to < n && Math.abs(differences[to]!) === Math.abs(differences[from]!)) to++;
    // Ranks from + 1 .. to share their mean.
    const rank = (from + 1 + to) / 2;
    const count = to - from;
    for (let i = from; i < to; i++) if (differences[i]! > 0) positive += rank;
    ties += count ** 3 - count;
    from = to;
  }
  const statistic = Math.min(positive, (n * (n + 1)) / 2 - positive);
  if (n <= EXACT_MOST && ties === 0) return { statistic, pValue: exactPValue(n, statistic), pairs: n };
  const variance = (n * (n + 1) * (2 * n + 1)) / 24 - ties / 48;
  const z = (statistic - (n * (n + 1)) / 4) / Math.sqrt(variance);
  return { statistic, pValue: Math.min(1, erfc(-z / Math.SQRT2)), pairs: n };
}

/** Two-sided: the share of the 2^n signs under which a rank sum is as small as that, twice. */
function exactPValue(n: number, statistic: number): number {
  const most = (n * (n + 1)) / 2;
  // ways[s]: share of the signs of the first ranks whose positive ones sum to s.
  const ways = new Float64Array(most + 1);
  ways[0] = 1;
  for (let rank = 1; rank <= n; rank++) {
    for (let sum = most; sum >= 0; sum--) ways[sum] = (ways[sum]! + (sum >= rank ? ways[sum - rank]! : 0)) / 2;
  }
  let below = 0;
  for (let sum = 0; sum <= statistic; sum++) below += ways[sum]!;
  return Math.min(1, 2 * below);
}

/**
 * The complementary error function, by its continued fraction in the tail and its series near 0; relative error below
 * 1e-12 (Abramowitz and Stegun 1964, 7.1.5 and 7.1.14).
 */
function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let k = 1; Math.abs(term) > 1e-17 * Math.abs(sum); k++) {
      term *= (-x * x) / k;
      sum += term / (2 * k + 1);
      if (term === 0) break;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let k = 120; k >= 1; k--) fraction = k / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

/**
 * P-values of several tests as they stand beside each other (Holm 1979): below a level with the probability that any of
 * them is false held to that level.
 *
 * @throws PrismrecError INVALID_ARGUMENT for what is no probability
 */
export function holm(pValues: Readonly<Record<string, number>>): Record<string, number> {
  const ascending = Object.entries(pValues).sort(([, p], [, q]) => p - q);
  const adjusted = new Map<string, number>();
  let least = 0;
  for (const [i, [name, p]] of ascending.entries()) {
    if (!(p >= 0 && p <= 1)) {
      throw new PrismrecError("INVALID_ARGUMENT", `${name} is no p-value`, { expected: "0 to 1", received: String(p) });
    }
    least = Math.max(least, Math.min(1, p * (ascending.length - i)));
    adjusted.set(name, least);
  }
  return Object.fromEntries(Object.keys(pValues).map((name) => [name, adjusted.get(name)!]));
}
