/** The metric that a sentence speaks of: recall at the largest cut-off. */
export function headlineMetric(metrics: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(metrics).findLast((name) => name.startsWith("recall@"));
}
