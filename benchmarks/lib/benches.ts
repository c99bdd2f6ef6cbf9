/** Every benchmark by the name of its operation, in the order in which `all` runs them: GEMM first, bars count by it. */
export const BENCHES: Readonly<Record<string, URL>> = {
  gemm: benchModule("gemm"),
};

function benchModule(name: string): URL {
  return new URL(`../${name}.bench.js`, import.meta.url);
}
