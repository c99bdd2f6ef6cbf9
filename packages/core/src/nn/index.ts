export * from "./checkpoint/checkpoint.js";
export {
  decodeSafetensors,
  encodeSafetensors,
  type StoredTensor,
  type TensorData,
  type TensorFile,
} from "./checkpoint/safetensors.js";
export * from "./checkpoint/safetensors-file.js";
export type { Alignment } from "./layers/alignment.js";
export * from "./layers/event-fields.js";
export * from "./layers/parameters.js";
export * from "./layers/scope.js";
export * from "./layers/sequence-batch.js";
export * from "./layers/transformer.js";
export * from "./layers/user-fields.js";
export * from "./network.js";
export * from "./tensor/backend.js";
export * from "./tensor/dropout.js";
export * from "./tensor/fall-throughs.js";
export * from "./tensor/gelu.js";
export * from "./tensor/in-place.js";
export * from "./tensor/layer-norm.js";
export * from "./tensor/masked-softmax.js";
export * from "./tensor/tfjs.js";
export * from "./tensor/variables.js";
export * from "./terms/index.js";
export * from "./towers/index.js";
