// The tests of all CUDA kernels on the pretended GPU, alone; `npm test` runs them with the rest.
import { main, nativeTests } from "./lib/native-tests.mjs";

await main(import.meta.url, () => nativeTests("test", { define: ["PRISMREC_CUDA_HOST=ON"], only: "cuda" }));
