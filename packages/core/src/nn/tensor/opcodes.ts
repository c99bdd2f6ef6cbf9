/** The operation numbers of native/src/ops/tensor_kernels/cpu/table.h. */
export const BinaryOp = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  max: 4,
  min: 5,
  pow: 6,
  squaredDifference: 7,
} as const;

export const CompareOp = { equal: 0, notEqual: 1, less: 2, lessEqual: 3, greater: 4, greaterEqual: 5 } as const;

export const UnaryOp = {
  exp: 0,
  log: 1,
  log1p: 2,
  sqrt: 3,
  rsqrt: 4,
  square: 5,
  neg: 6,
  abs: 7,
  relu: 8,
  tanh: 9,
  sigmoid: 10,
  erf: 11,
  softplus: 12,
  elu: 13,
  step: 14,
  clip: 15,
  reciprocal: 16,
  gelu: 17,
  expm1: 18,
  leakyRelu: 19,
} as const;

export const ReduceOp = { sum: 0, max: 1, min: 2, prod: 3 } as const;
