#include "ops/tensor_kernels/arguments.h"
#include "ops/tensor_kernels/dispatch.h"
#include "ops/tensor_kernels/tensor_kernels.h"

namespace prismrec::tensor {
namespace {

using Array = JsArray;

bool TooShort(const Array& array, Extent least) {
  return least.beyond() || array.length < least.value();
}

// (op, a, b, out, geometry)
napi_value BinaryCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorBinary");
  const BinaryOp op = args.Code<BinaryOp>(0);
  const Geometry shape = args.Shape(4);
  const Array a = args.Typed(1), b = args.Typed(2), out = args.Written(3);
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
  const Array out = args.Written(3, napi_uint8_array, shape.Count());
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
  float* out = args.WrittenFloats(2, x.length);
  const float p0 = static_cast<float>(args.Number(3)), p1 = static_cast<float>(args.Number(4));
  if (args.ok()) Unary(ActiveTable(), op, x.as<float>(), out, x.length, p0, p1);
  return args.Result();
}

// (op, x, out, outer, extent, inner, scale); scale is for floats only
napi_value ReduceCall(napi_env env, napi_callback_info info) {
  Arguments<7> args(env, info, "tensorReduce");
  const ReduceOp op = args.Code<ReduceOp>(0);
  const Extent outer = args.Size(3), extent = args.Size(4), inner = args.Size(5);
  const Array x = args.Typed(1);
  const Array out = args.Written(2);
  const float scale = static_cast<float>(args.Number(6));
  if (args.ok() && (x.type != out.type || TooShort(x, outer * extent * inner) ||
                    TooShort(out, outer * inner))) {
    args.Fail(StatusCode::kShapeMismatch, "arrays", ToText(outer * extent * inner),
              std::to_string(x.length));
  }
  if (!args.ok() || outer * inner == 0) return args.Result();
  if (x.type == napi_float32_array) {
    Reduce(ActiveTable(), op, x.as<float>(), out.as<float>(), outer.value(), extent.value(),
           inner.value(), scale);
  } else if (x.type == napi_int32_array) {
    Reduce(op, x.as<int32_t>(), out.as<int32_t>(), outer.value(), extent.value(), inner.value());
  } else {
    args.Fail(StatusCode::kInvalidArgument, "arrays", "float32 or int32", "another type");
  }
  return args.Result();
}

// (x, out: Int32Array, outer, extent, inner)
napi_value ArgMaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorArgMax");
  const Extent outer = args.Size(2), extent = args.Size(3), inner = args.Size(4);
  const float* x = args.Floats(0, outer * extent * inner);
  const Array out = args.Written(1, napi_int32_array, outer * inner);
  if (args.ok() && outer * inner != 0) {
    ArgMax(x, out.as<int32_t>(), outer.value(), extent.value(), inner.value());
  }
  return args.Result();
}

// (x, out, rows, cols, log)
napi_value SoftmaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorSoftmax");
  const Extent rows = args.Size(2), cols = args.Size(3);
  const float* x = args.Floats(0, rows * cols);
  float* out = args.WrittenFloats(1, rows * cols);
  const bool log = args.Flag(4);
  if (args.ok() && rows * cols != 0) {
    Softmax(ActiveTable(), x, out, rows.value(), cols.value(), log);
  }
  return args.Result();
}

// (y, dy, dx, rows, cols, log)
napi_value SoftmaxGradCall(napi_env env, napi_callback_info info) {
  Arguments<6> args(env, info, "tensorSoftmaxGrad");
  const Extent rows = args.Size(3), cols = args.Size(4);
  const float* y = args.Floats(0, rows * cols);
  const float* dy = args.Floats(1, rows * cols);
  float* dx = args.WrittenFloats(2, rows * cols);
  const bool log = args.Flag(5);
  if (args.ok() && rows * cols != 0) {
    SoftmaxGrad(ActiveTable(), y, dy, dx, rows.value(), cols.value(), log);
  }
  return args.Result();
}

// (x, mask, out, geometry of the rows, cols)
napi_value MaskedSoftmaxCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorMaskedSoftmax");
  const Geometry rows = args.Shape(3);
  const Extent cols = args.Size(4), count = Extent(rows.Count()) * cols;
  const float* x = args.Floats(0, count);
  const Array mask = args.Typed(1);
  float* out = args.WrittenFloats(2, count);
  if (!args.ok() || count == 0) return args.Result();
  if (TooShort(mask, cols)) {
    args.Fail(StatusCode::kShapeMismatch, "mask", ToText(cols), std::to_string(mask.length));
    return args.Result();
  }
  args.Within(rows, rows.stride_b, 0, mask.length - cols.value() + 1);
  if (!args.ok()) return args.Result();
  if (mask.type != napi_uint8_array && mask.type != napi_int32_array &&
      mask.type != napi_float32_array) {
    args.Fail(StatusCode::kInvalidArgument, "mask", "uint8, int32 or float32", "another type");
    return args.Result();
  }
  const MaskType type = mask.type == napi_uint8_array   ? MaskType::kUint8
                        : mask.type == napi_int32_array ? MaskType::kInt32
                                                        : MaskType::kFloat;
  MaskedSoftmax(ActiveTable(), rows, x, mask.data, type, out, cols.value());
  return nullptr;
}

// (x, gamma, beta, y, mean, rstd, rows, cols, epsilon)
napi_value LayerNormCall(napi_env env, napi_callback_info info) {
  Arguments<9> args(env, info, "tensorLayerNorm");
  const Extent rows = args.Size(6), cols = args.Size(7);
  const float* x = args.Floats(0, rows * cols);
  const float* gamma = args.Floats(1, cols);
  const float* beta = args.Floats(2, cols);
  float* y = args.WrittenFloats(3, rows * cols);
  float* mean = args.WrittenFloats(4, rows);
  float* rstd = args.WrittenFloats(5, rows);
  const float epsilon = static_cast<float>(args.Number(8));
  if (args.ok()) {
    LayerNorm(ActiveTable(), x, gamma, beta, y, mean, rstd, rows.value(), cols.value(), epsilon);
  }
  return args.Result();
}

// (x, gamma, mean, rstd, dy, dx, dgamma, dbeta, rows, cols)
napi_value LayerNormGradCall(napi_env env, napi_callback_info info) {
  Arguments<10> args(env, info, "tensorLayerNormGrad");
  const Extent rows = args.Size(8), cols = args.Size(9);
  const float* x = args.Floats(0, rows * cols);
  const float* gamma = args.Floats(1, cols);
  const float* mean = args.Floats(2, rows);
  const float* rstd = args.Floats(3, rows);
  const float* dy = args.Floats(4, rows * cols);
  float* dx = args.WrittenFloats(5, rows * cols);
  float* dgamma = args.WrittenFloats(6, cols);
  float* dbeta = args.WrittenFloats(7, cols);
  if (args.ok()) {
    LayerNormGrad(ActiveTable(), x, gamma, mean, rstd, dy, dx, dgamma, dbeta, rows.value(),
                  cols.value());
  }
  return args.Result();
}

// (x, dy, dx)
napi_value GeluGradCall(napi_env env, napi_callback_info info) {
  Arguments<3> args(env, info, "tensorGeluGrad");
  const Array x = args.Typed(0, napi_float32_array, 0);
  const float* dy = args.Floats(1, x.length);
  float* dx = args.WrittenFloats(2, x.length);
  if (args.ok()) GeluGrad(ActiveTable(), x.as<float>(), dy, dx, x.length);
  return args.Result();
}

// (x, out, key, threshold, scale)
napi_value DropoutCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorDropout");
  const Array x = args.Typed(0, napi_float32_array, 0);
  float* out = args.WrittenFloats(1, x.length);
  const uint32_t key = args.Word(2), threshold = args.Word(3);
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
  float* out = args.WrittenFloats(3, condition.length);
  if (args.ok()) Select(condition.as<uint8_t>(), a, b, out, condition.length);
  return args.Result();
}

// (src, src offset, dst, dst offset, geometry)
napi_value CopyCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorCopy");
  const Extent from = args.Size(1), to = args.Size(3);
  const Geometry shape = args.Shape(4);
  const Array src = args.Typed(0), dst = args.Written(2);
  args.Within(shape, shape.stride_a, from, src.length);
  args.Within(shape, shape.stride_b, to, dst.length);
  if (!args.ok() || shape.Count() == 0) return args.Result();
  const size_t item = src.type == napi_uint8_array ? 1 : 4;
  const bool known = src.type == napi_uint8_array || src.type == napi_int32_array ||
                     src.type == napi_float32_array;
  if (!known || src.type != dst.type) {
    args.Fail(StatusCode::kInvalidArgument, "arrays", "one type of float32, int32, uint8",
              "others");
    return args.Result();
  }
  Copy(shape, src.as<char>() + from.value() * item, dst.as<char>() + to.value() * item, item);
  return nullptr;
}

// (x, ids: Int32Array, out, batch, outer, axis, count, inner)
napi_value GatherCall(napi_env env, napi_callback_info info) {
  Arguments<8> args(env, info, "tensorGather");
  const Extent batch = args.Size(3), outer = args.Size(4), axis = args.Size(5),
               count = args.Size(6), inner = args.Size(7);
  const Array x = args.Typed(0), out = args.Written(2);
  const ArrayView<const int32_t> ids = args.Addresses<int32_t>(1, batch * count);
  const bool known = x.type == napi_int32_array || x.type == napi_float32_array;
  if (args.ok() && (!known || x.type != out.type || TooShort(x, batch * outer * axis * inner) ||
                    TooShort(out, batch * outer * count * inner))) {
    args.Fail(StatusCode::kShapeMismatch, "arrays", ToText(batch * outer * axis * inner),
              std::to_string(x.length));
  }
  if (args.ok() && batch * outer * count * inner != 0) {
    args.Fail(Gather(x.data, ids.data, out.data, batch.value(), outer.value(), axis.value(),
                     count.value(), inner.value()));
  }
  return args.Result();
}

// (x, ids: Int32Array, out, segments, inner)
napi_value SegmentSumCall(napi_env env, napi_callback_info info) {
  Arguments<5> args(env, info, "tensorSegmentSum");
  const Extent segments = args.Size(3), inner = args.Size(4);
  const ArrayView<const int32_t> ids = args.Addresses<int32_t>(1);
  const float* x = args.Floats(0, Extent(ids.size) * inner);
  float* out = args.WrittenFloats(2, segments * inner);
  if (args.ok() && segments * inner != 0) {
    SegmentSum(x, ids.data, out, ids.size, segments.value(), inner.value());
  }
  return args.Result();
}

// (a, b, out, offsets of a, offsets of b, m, n, k, transposeA, transposeB); one offset per matrix
// of the batch
napi_value MatmulCall(napi_env env, napi_callback_info info) {
  Arguments<10> args(env, info, "tensorMatmul");
  const ArrayView<const uint32_t> offsets_a = args.Addresses<uint32_t>(3);
  const Extent batch = offsets_a.size;
  const ArrayView<const uint32_t> offsets_b = args.Addresses<uint32_t>(4, batch);
  const Extent m = args.Size(5), n = args.Size(6), k = args.Size(7);
  const Array a = args.Typed(0, napi_float32_array, 0), b = args.Typed(1, napi_float32_array, 0);
  float* out = args.WrittenFloats(2, batch * m * n);
  const bool transpose_a = args.Flag(8), transpose_b = args.Flag(9);
  for (size_t i = 0; args.ok() && i < batch.value(); ++i) {
    if (TooShort(a, m * k + offsets_a[i]) || TooShort(b, k * n + offsets_b[i])) {
      args.Fail(StatusCode::kShapeMismatch, "matrix " + std::to_string(i) + " leaves its array",
                ToText(m * k) + " and " + ToText(k * n),
                std::to_string(a.length) + " and " + std::to_string(b.length));
    }
  }
  if (args.ok() && batch * m * n != 0) {
    Matmul({a.as<float>(), b.as<float>(), out, offsets_a.data, offsets_b.data, batch.value(),
            m.value(), n.value(), k.value(), transpose_a, transpose_b});
  }
  return args.Result();
}

}  // namespace
}  // namespace prismrec::tensor

namespace prismrec {

void RegisterTensorKernels(Napi::Env env, Napi::Object exports) {
  positional::Export<tensor::BinaryCall>(env, exports, "tensorBinary");
  positional::Export<tensor::CompareCall>(env, exports, "tensorCompare");
  positional::Export<tensor::UnaryCall>(env, exports, "tensorUnary");
  positional::Export<tensor::ReduceCall>(env, exports, "tensorReduce");
  positional::Export<tensor::ArgMaxCall>(env, exports, "tensorArgMax");
  positional::Export<tensor::SoftmaxCall>(env, exports, "tensorSoftmax");
  positional::Export<tensor::SoftmaxGradCall>(env, exports, "tensorSoftmaxGrad");
  positional::Export<tensor::MaskedSoftmaxCall>(env, exports, "tensorMaskedSoftmax");
  positional::Export<tensor::LayerNormCall>(env, exports, "tensorLayerNorm");
  positional::Export<tensor::LayerNormGradCall>(env, exports, "tensorLayerNormGrad");
  positional::Export<tensor::GeluGradCall>(env, exports, "tensorGeluGrad");
  positional::Export<tensor::DropoutCall>(env, exports, "tensorDropout");
  positional::Export<tensor::SelectCall>(env, exports, "tensorSelect");
  positional::Export<tensor::CopyCall>(env, exports, "tensorCopy");
  positional::Export<tensor::GatherCall>(env, exports, "tensorGather");
  positional::Export<tensor::SegmentSumCall>(env, exports, "tensorSegmentSum");
  positional::Export<tensor::MatmulCall>(env, exports, "tensorMatmul");
}

}  // namespace prismrec
