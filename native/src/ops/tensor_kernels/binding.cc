#include "ops/tensor_kernels/arguments.h"
#include "ops/tensor_kernels/dispatch.h"
#include "ops/tensor_kernels/tensor_kernels.h"

namespace prismrec::tensor {
namespace {

// (op, a, b, out, geometry)
napi_value BinaryCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorBinary");
  const BinaryOp op = args.Code<BinaryOp>(0);
  const Array a = args.Typed(1), b = args.Typed(2), out = args.Typed(3);
  const Geometry shape = args.Shape(4);
  args.UnitSteps(shape);
  args.Within(shape, shape.stride_a, 0, a.length);
  args.Within(shape, shape.stride_b, 0, b.length);
  if (args.ok() && (a.type != b.type || a.type != out.type || out.length < shape.Count())) {
    args.Fail(StatusCode::kShapeMismatch, "operands", "one type, and room in the output",
              std::to_string(out.length));
  }
  if (!args.ok()) return args.Result();
  if (a.type == napi_float32_array) {
    Binary(ActiveTable(), op, shape, a.as<float>(), b.as<float>(), out.as<float>());
  } else if (a.type == napi_int32_array) {
    Binary(op, shape, a.as<int32_t>(), b.as<int32_t>(), out.as<int32_t>());
  } else if (a.type == napi_uint8_array) {
    Binary(op, shape, a.as<uint8_t>(), b.as<uint8_t>(), out.as<uint8_t>());
  } else {
    args.Fail(StatusCode::kInvalidArgument, "operands", "float32, int32 or uint8", "another type");
  }
  return args.Result();
}

// (op, a, b, out: Uint8Array, geometry)
napi_value CompareCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorCompare");
  const CompareOp op = args.Code<CompareOp>(0);
  const Array a = args.Typed(1), b = args.Typed(2);
  const Geometry shape = args.Shape(4);
  const Array out = args.Typed(3, napi_uint8_array, shape.Count());
  args.UnitSteps(shape);
  args.Within(shape, shape.stride_a, 0, a.length);
  args.Within(shape, shape.stride_b, 0, b.length);
  if (args.ok() && a.type != b.type) {
    args.Fail(StatusCode::kInvalidArgument, "operands", "one type", "two");
  }
  if (!args.ok()) return args.Result();
  uint8_t* to = out.as<uint8_t>();
  if (a.type == napi_float32_array) {
    Compare(ActiveTable(), op, shape, a.as<float>(), b.as<float>(), to);
  } else if (a.type == napi_int32_array) {
    Compare(op, shape, a.as<int32_t>(), b.as<int32_t>(), to);
  } else if (a.type == napi_uint8_array) {
    Compare(op, shape, a.as<uint8_t>(), b.as<uint8_t>(), to);
  } else {
    args.Fail(StatusCode::kInvalidArgument, "operands", "float32, int32 or uint8", "another type");
  }
  return args.Result();
}

// (op, x, out, p0, p1)
napi_value UnaryCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorUnary");
  const UnaryOp op = args.Code<UnaryOp>(0);
  const Array x = args.Typed(1, napi_float32_array, 0);
  float* out = args.Floats(2, x.length);
  const float p0 = static_cast<float>(args.Number(3)), p1 = static_cast<float>(args.Number(4));
  if (args.ok()) Unary(ActiveTable(), op, x.as<float>(), out, x.length, p0, p1);
  return args.Result();
}

// (op, x, out, outer, extent, inner, scale); scale is for floats only
napi_value ReduceCall(napi_env env, napi_callback_info info) {
  Arguments<7> args(env, info, "tensorReduce");
  const ReduceOp op = args.Code<ReduceOp>(0);
  const Array x = args.Typed(1), out = args.Typed(2);
  const size_t outer = args.Size(3), extent = args.Size(4), inner = args.Size(5);
  const float scale = static_cast<float>(args.Number(6));
  if (args.ok() &&
      (x.type != out.type || x.length < outer * extent * inner || out.length < outer * inner)) {
    args.Fail(StatusCode::kShapeMismatch, "arrays", std::to_string(outer * extent * inner),
              std::to_string(x.length));
  }
  if (!args.ok()) return args.Result();
  if (x.type == napi_float32_array) {
    Reduce(ActiveTable(), op, x.as<float>(), out.as<float>(), outer, extent, inner, scale);
  } else if (x.type == napi_int32_array) {
    Reduce(op, x.as<int32_t>(), out.as<int32_t>(), outer, extent, inner);
  } else {
    args.Fail(StatusCode::kInvalidArgument, "arrays", "float32 or int32", "another type");
  }
  return args.Result();
}

// (x, out: Int32Array, outer, extent, inner)
napi_value ArgMaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorArgMax");
  const size_t outer = args.Size(2), extent = args.Size(3), inner = args.Size(4);
  const float* x = args.Floats(0, outer * extent * inner);
  const Array out = args.Typed(1, napi_int32_array, outer * inner);
  if (args.ok()) ArgMax(x, out.as<int32_t>(), outer, extent, inner);
  return args.Result();
}

// (x, out, rows, cols, log)
napi_value SoftmaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorSoftmax");
  const size_t rows = args.Size(2), cols = args.Size(3);
  const float* x = args.Floats(0, rows * cols);
  float* out = args.Floats(1, rows * cols);
  const bool log = args.Flag(4);
  if (args.ok()) Softmax(ActiveTable(), x, out, rows, cols, log);
  return args.Result();
}

// (y, dy, dx, rows, cols, log)
napi_value SoftmaxGradCall(napi_env env, napi_callback_info info) {
  Arguments<6> args(env, info, "tensorSoftmaxGrad");
  const size_t rows = args.Size(3), cols = args.Size(4);
  const float* y = args.Floats(0, rows * cols);
  const float* dy = args.Floats(1, rows * cols);
  float* dx = args.Floats(2, rows * cols);
  const bool log = args.Flag(5);
  if (args.ok()) SoftmaxGrad(ActiveTable(), y, dy, dx, rows, cols, log);
  return args.Result();
}

// (x, mask, out, geometry of the rows, cols)
napi_value MaskedSoftmaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorMaskedSoftmax");
  const Geometry rows = args.Shape(3);
  const size_t cols = args.Size(4);
  const float* x = args.Floats(0, rows.Count() * cols);
  const Array mask = args.Typed(1);
  float* out = args.Floats(2, rows.Count() * cols);
  if (args.ok() && cols > 0) {
    if (mask.length < cols) {
      args.Fail(StatusCode::kShapeMismatch, "mask", std::to_string(cols),
                std::to_string(mask.length));
    } else {
      args.Within(rows, rows.stride_b, 0, mask.length - cols + 1);
    }
  }
  if (!args.ok()) return args.Result();
  if (mask.type != napi_uint8_array && mask.type != napi_int32_array &&
      mask.type != napi_float32_array) {
    args.Fail(StatusCode::kInvalidArgument, "mask", "uint8, int32 or float32", "another type");
    return args.Result();
  }
  const MaskType type = mask.type == napi_uint8_array   ? MaskType::kUint8
                        : mask.type == napi_int32_array ? MaskType::kInt32
                                                        : MaskType::kFloat;
  MaskedSoftmax(ActiveTable(), rows, x, mask.data, type, out, cols);
  return nullptr;
}

// (x, gamma, beta, y, mean, rstd, rows, cols, epsilon)
napi_value LayerNormCall(napi_env env, napi_callback_info info) {
  Arguments<9> args(env, info, "tensorLayerNorm");
  const size_t rows = args.Size(6), cols = args.Size(7);
  const float* x = args.Floats(0, rows * cols);
  const float* gamma = args.Floats(1, cols);
  const float* beta = args.Floats(2, cols);
  float* y = args.Floats(3, rows * cols);
  float* mean = args.Floats(4, rows);
  float* rstd = args.Floats(5, rows);
  const float epsilon = static_cast<float>(args.Number(8));
  if (args.ok()) LayerNorm(ActiveTable(), x, gamma, beta, y, mean, rstd, rows, cols, epsilon);
  return args.Result();
}

// (x, gamma, mean, rstd, dy, dx, dgamma, dbeta, rows, cols)
napi_value LayerNormGradCall(napi_env env, napi_callback_info info) {
  Arguments<10> args(env, info, "tensorLayerNormGrad");
  const size_t rows = args.Size(8), cols = args.Size(9);
  const float* x = args.Floats(0, rows * cols);
  const float* gamma = args.Floats(1, cols);
  const float* mean = args.Floats(2, rows);
  const float* rstd = args.Floats(3, rows);
  const float* dy = args.Floats(4, rows * cols);
  float* dx = args.Floats(5, rows * cols);
  float* dgamma = args.Floats(6, cols);
  float* dbeta = args.Floats(7, cols);
  if (args.ok()) {
    LayerNormGrad(ActiveTable(), x, gamma, mean, rstd, dy, dx, dgamma, dbeta, rows, cols);
  }
  return args.Result();
}

// (x, dy, dx)
napi_value GeluGradCall(napi_env env, napi_callback_info info) {
  Arguments<3> args(env, info, "tensorGeluGrad");
  const Array x = args.Typed(0, napi_float32_array, 0);
  const float* dy = args.Floats(1, x.length);
  float* dx = args.Floats(2, x.length);
  if (args.ok()) GeluGrad(ActiveTable(), x.as<float>(), dy, dx, x.length);
  return args.Result();
}

// (x, out, key, threshold, scale)
napi_value DropoutCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorDropout");
  const Array x = args.Typed(0, napi_float32_array, 0);
  float* out = args.Floats(1, x.length);
  const uint32_t key = static_cast<uint32_t>(args.Size(2));
  const uint32_t threshold = static_cast<uint32_t>(args.Size(3));
  const float scale = static_cast<float>(args.Number(4));
  if (args.ok()) Dropout(ActiveTable(), x.as<float>(), out, x.length, key, threshold, scale);
  return args.Result();
}

// (condition: Uint8Array, a, b, out)
napi_value SelectCall(napi_env env, napi_callback_info info) {
  Arguments<4> args(env, info, "tensorSelect");
  const Array condition = args.Typed(0, napi_uint8_array, 0);
  const float* a = args.Floats(1, condition.length);
  const float* b = args.Floats(2, condition.length);
  float* out = args.Floats(3, condition.length);
  if (args.ok()) Select(condition.as<uint8_t>(), a, b, out, condition.length);
  return args.Result();
}

// (src, src offset, dst, dst offset, geometry)
napi_value CopyCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorCopy");
  const Array src = args.Typed(0), dst = args.Typed(2);
  const size_t from = args.Size(1), to = args.Size(3);
  const Geometry shape = args.Shape(4);
  args.Within(shape, shape.stride_a, from, src.length);
  args.Within(shape, shape.stride_b, to, dst.length);
  if (!args.ok()) return args.Result();
  const size_t item = src.type == napi_uint8_array ? 1 : 4;
  const bool known = src.type == napi_uint8_array || src.type == napi_int32_array ||
                     src.type == napi_float32_array;
  if (!known || src.type != dst.type) {
    args.Fail(StatusCode::kInvalidArgument, "arrays", "one type of float32, int32, uint8",
              "others");
    return args.Result();
  }
  Copy(shape, src.as<char>() + from * item, dst.as<char>() + to * item, item);
  return nullptr;
}

// (x, ids: Int32Array, out, batch, outer, axis, count, inner)
napi_value GatherCall(napi_env env, napi_callback_info info) {
  Arguments<8> args(env, info, "tensorGather");
  const size_t batch = args.Size(3), outer = args.Size(4), axis = args.Size(5),
               count = args.Size(6), inner = args.Size(7);
  const Array x = args.Typed(0), out = args.Typed(2);
  const Array ids = args.Typed(1, napi_int32_array, batch * count);
  const bool known = x.type == napi_int32_array || x.type == napi_float32_array;
  if (args.ok() && (!known || x.type != out.type || x.length < batch * outer * axis * inner ||
                    out.length < batch * outer * count * inner)) {
    args.Fail(StatusCode::kShapeMismatch, "arrays", std::to_string(batch * outer * axis * inner),
              std::to_string(x.length));
  }
  if (args.ok()) {
    args.Fail(Gather(x.data, ids.as<int32_t>(), out.data, batch, outer, axis, count, inner));
  }
  return args.Result();
}

// (x, ids: Int32Array, out, segments, inner)
napi_value SegmentSumCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorSegmentSum");
  const size_t segments = args.Size(3), inner = args.Size(4);
  const Array ids = args.Typed(1, napi_int32_array, 0);
  const float* x = args.Floats(0, ids.length * inner);
  float* out = args.Floats(2, segments * inner);
  if (args.ok()) SegmentSum(x, ids.as<int32_t>(), out, ids.length, segments, inner);
  return args.Result();
}

// (a, b, out, offsets of a, offsets of b, m, n, k, transposeA, transposeB); one offset per matrix
// of the batch
napi_value MatmulCall(napi_env env, napi_callback_info info) {
  Arguments<10> args(env, info, "tensorMatmul");
  const Array offsets_a = args.Typed(3, napi_uint32_array, 0);
  const size_t batch = offsets_a.length;
  const Array offsets_b = args.Typed(4, napi_uint32_array, batch);
  const size_t m = args.Size(5), n = args.Size(6), k = args.Size(7);
  const Array a = args.Typed(0, napi_float32_array, 0), b = args.Typed(1, napi_float32_array, 0);
  float* out = args.Floats(2, batch * m * n);
  const bool transpose_a = args.Flag(8), transpose_b = args.Flag(9);
  for (size_t i = 0; args.ok() && i < batch; ++i) {
    if (offsets_a.as<uint32_t>()[i] + m * k > a.length ||
        offsets_b.as<uint32_t>()[i] + k * n > b.length) {
      args.Fail(StatusCode::kShapeMismatch, "matrix " + std::to_string(i) + " leaves its array",
                std::to_string(m * k) + " and " + std::to_string(k * n),
                std::to_string(a.length) + " and " + std::to_string(b.length));
    }
  }
  if (args.ok()) {
    Matmul({a.as<float>(), b.as<float>(), out, offsets_a.as<uint32_t>(), offsets_b.as<uint32_t>(),
            batch, m, n, k, transpose_a, transpose_b});
  }
  return args.Result();
}

}  // namespace
}  // namespace prismrec::tensor

namespace prismrec {

void RegisterTensorKernels(Napi::Env env, Napi::Object exports) {
  tensor::Export<tensor::BinaryCall>(env, exports, "tensorBinary");
  tensor::Export<tensor::CompareCall>(env, exports, "tensorCompare");
  tensor::Export<tensor::UnaryCall>(env, exports, "tensorUnary");
  tensor::Export<tensor::ReduceCall>(env, exports, "tensorReduce");
  tensor::Export<tensor::ArgMaxCall>(env, exports, "tensorArgMax");
  tensor::Export<tensor::SoftmaxCall>(env, exports, "tensorSoftmax");
  tensor::Export<tensor::SoftmaxGradCall>(env, exports, "tensorSoftmaxGrad");
  tensor::Export<tensor::MaskedSoftmaxCall>(env, exports, "tensorMaskedSoftmax");
  tensor::Export<tensor::LayerNormCall>(env, exports, "tensorLayerNorm");
  tensor::Export<tensor::LayerNormGradCall>(env, exports, "tensorLayerNormGrad");
  tensor::Export<tensor::GeluGradCall>(env, exports, "tensorGeluGrad");
  tensor::Export<tensor::DropoutCall>(env, exports, "tensorDropout");
  tensor::Export<tensor::SelectCall>(env, exports, "tensorSelect");
  tensor::Export<tensor::CopyCall>(env, exports, "tensorCopy");
  tensor::Export<tensor::GatherCall>(env, exports, "tensorGather");
  tensor::Export<tensor::SegmentSumCall>(env, exports, "tensorSegmentSum");
  tensor::Export<tensor::MatmulCall>(env, exports, "tensorMatmul");
}

}  // namespace prismrec
