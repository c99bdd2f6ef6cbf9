/** Every benchmark by the name of its operation, in the order in which `all` runs them: GEMM first, bars count by it. */
export const BENCHES: Readonly<Record<string, URL>> = {
  gemm: benchModule("gemm"),
  "contrastive-loss": benchModule("contrastive-loss"),
  "similarity-search": benchModule("similarity-search"),
  "softmax-loss": benchModule("softmax-loss"),
  "max-cover": benchModule("max-cover"),
  "training-step": benchModule("training-step"),
  "ldmi-step": benchModule("ldmi-step"),
  "whole-training": benchModule("whole-training"),
  "item-statistics": benchModule("item-statistics"),
  "embedding-rows": benchModule("embedding-rows"),
  "tensor-kernels": benchModule("tensor-kernels"),
  llm: benchModule("llm"),
  runtime: benchModule("runtime"),
};

function benchModule(name: string): URL {
  return new URL(`../${name}.bench.js`, import.meta.url);
}
