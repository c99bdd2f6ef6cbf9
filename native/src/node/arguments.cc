#include "node/arguments.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "runtime/cancel.h"
#include "runtime/thread_pool.h"

namespace prismrec {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

// Where it is much, by several threads: JavaScript's waits for it.
void CopyBytes(char* to, const char* from, size_t bytes) {
  constexpr size_t kChunk = size_t{4} << 20;
  if (bytes == 0) return;
  if (bytes <= 2 * kChunk) {
    std::memcpy(to, from, bytes);
    return;
  }
  ThreadPool::Global().ParallelFor((bytes + kChunk - 1) / kChunk, CancelFlag(),
                                   [&](size_t chunk, int) {
                                     const size_t begin = chunk * kChunk;
                                     std::memcpy(to + begin, from + begin,
                                                 std::min(kChunk, bytes - begin));
                                   });
}

bool Overlap(const char* a, size_t a_bytes, const char* b, size_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

}  // namespace

char* CallMemory::Copy(const void* data, size_t bytes) {
  // A null view would mean an absent array.
  copies_.emplace_back(std::max<size_t>(bytes, 1));
  char* const copy = copies_.back().data();
  CopyBytes(copy, static_cast<const char*>(data), bytes);
  return copy;
}

void CallMemory::Executed() {
  if (returns_.empty()) copies_.clear();
}

Status CallMemory::WriteBack(Napi::Env env, Napi::Array held) const {
  for (const Output& output : returns_) {
    JsArray array;
    ReadArray(env, held.Get(output.slot), &array);
    if (array.length * ElementBytes(array.type) != output.bytes) {
      return InvalidArgument("\"" + output.name + "\" was given away while the call was under way",
                             "an array that stays the caller's until the promise has settled",
                             "a detached array");
    }
    CopyBytes(array.as<char>(), output.copy, output.bytes);
  }
  return Status::Ok();
}

Args::Args(const Napi::CallbackInfo& info, Mode mode)
    : env_(info.Env()), mode_(mode), held_(Napi::Array::New(info.Env())) {
  if (info.Length() != 1 || !info[0].IsObject() || info[0].IsTypedArray()) {
    Fail(InvalidArgument("a native operation takes one object of named arguments", "one object",
                         std::to_string(info.Length()) + " arguments"));
  }
  object_ = info[0].As<Napi::Object>();
}

Napi::Value Args::Get(const char* name) const { return object_.Get(name); }

bool Args::Has(const char* name) const { return !Get(name).IsUndefined(); }

void Args::Fail(const Status& status) const { throw ToError(env_, status); }

void Args::Check(const Status& status) const {
  if (!status.ok()) Fail(status);
}

uint32_t Args::Hold(napi_value value) {
  held_.Set(held_count_, value);
  return held_count_++;
}

Args::Raw Args::ReadAs(const char* name, napi_typedarray_type type, const char* type_name, Use use,
                       const Extent* length) {
  const Napi::Value value = Get(name);
  const auto quoted = [name] { return std::string("\"") + name + "\""; };
  JsArray array;
  if (!ReadArray(env_, value, &array) || array.type != type) {
    Fail(InvalidArgument(quoted() + " is of the wrong type", std::string("a ") + type_name,
                         Describe(value)));
  }
  if (Resizable(env_, array)) {
    Fail(InvalidArgument(quoted() + " lies in memory whose length can change",
                         std::string("a ") + type_name + " of fixed length",
                         Shared(env_, array) ? "one on a growable SharedArrayBuffer"
                                             : "one on a resizable ArrayBuffer",
                         "Pass a copy: array.slice()."));
  }
  if (Detached(env_, array)) {
    Fail(InvalidArgument(quoted() + " has been given away", std::string("a ") + type_name,
                         "one whose memory is detached",
                         "Use the array before it is transferred to another thread."));
  }
  if (length != nullptr && Extent(array.length) != *length) {
    Fail(ShapeMismatch(quoted() + " does not have the length its shape asks for",
                       std::string("a ") + type_name + " of length " + ToText(*length),
                       "length " + std::to_string(array.length)));
  }
  const size_t bytes = array.length * ElementBytes(type);
  const bool shared = Shared(env_, array);
  const bool async = mode_ == Mode::kAsync;
  const bool copy = use == Use::kAddresses ? async || shared : async && !shared;
  readings_.push_back({name, use, value, array.as<char>(), array.length, bytes, !copy});
  Raw raw{array.data, array.length, 0};
  if (!copy || use == Use::kWritten) raw.slot = Hold(value);
  if (copy) {
    char* const own = memory_.Copy(array.data, bytes);
    raw.data = own;
    if (use == Use::kWritten) memory_.Return(name, raw.slot, own, bytes);
  }
  return raw;
}

Args::Raw Args::New(napi_typedarray_type type, Extent length) {
  MemoryClaim claim;
  JsArray array;
  napi_value value = nullptr;
  Check(NewArray(env_, type, length, &claim, &array, &value));
  memory_.Keep(std::move(claim));
  return {array.data, array.length, Hold(value)};
}

void Args::ClaimScratch(Extent bytes) {
  size_t most = 0;
  if (bytes.beyond() || !ProcessMemory().Claim(bytes.value(), &most)) {
    Fail(OutOfMemory("the operation does not fit into memory",
                     "at most " + std::to_string(most >> 20) + " MiB", ToText(bytes) + " bytes",
                     "Make the problem smaller, or free memory or raise the container's limit."));
  }
  memory_.Keep(MemoryClaim::Adopt(bytes.value()));
}

CsrView Args::Csr(const char* indptr, const char* indices, const char* values, Extent rows,
                  Extent cols) {
  return CsrOf(indptr, Addresses<uint32_t>(indptr, rows + 1), indices, values, cols);
}

CsrView Args::Csr(const char* indptr, const char* indices, Extent cols) {
  const ArrayView<const uint32_t> pointers = Addresses<uint32_t>(indptr);
  if (pointers.size == 0) {
    Fail(ShapeMismatch(std::string("\"") + indptr + "\" must have an entry more than there are rows",
                       ">= 1", "0"));
  }
  return CsrOf(indptr, pointers, indices, nullptr, cols);
}

CsrView Args::CsrOf(const char* name, ArrayView<const uint32_t> pointers, const char* indices,
                    const char* values, Extent cols) {
  CsrView csr;
  csr.rows = pointers.size - 1;
  csr.cols = cols.value();
  csr.indptr = pointers.data;
  const uint32_t nnz = csr.indptr[csr.rows];
  row_pointers_.push_back({name, csr.indptr + csr.rows, nnz});
  csr.indices = Addresses<uint32_t>(indices, nnz).data;
  if (values != nullptr) csr.values = OptionalArray<float>(values, nnz).data;
  return csr;
}

double Args::Number(const char* name) {
  const Napi::Value value = Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!std::isfinite(number)) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a finite number", "a finite number",
                         Describe(value)));
  }
  return number;
}

double Args::Number(const char* name, double fallback) {
  return Has(name) ? Number(name) : fallback;
}

Extent Args::Size(const char* name) {
  const Napi::Value value = Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= 0 && number <= kMaxSafeInteger && number == std::floor(number))) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a whole number from 0",
                         "a whole number from 0, below 2^53", Describe(value)));
  }
  return static_cast<size_t>(number);
}

Extent Args::Size(const char* name, size_t fallback) { return Has(name) ? Size(name) : fallback; }

bool Args::Bool(const char* name, bool fallback) {
  const Napi::Value value = Get(name);
  if (value.IsUndefined()) return fallback;
  if (!value.IsBoolean()) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be true or false", "a boolean",
                         Describe(value)));
  }
  return value.As<Napi::Boolean>();
}

std::string Args::String(const char* name) {
  const Napi::Value value = Get(name);
  if (!value.IsString()) {
    Fail(InvalidArgument(std::string("\"") + name + "\" must be a text", "a string",
                         Describe(value)));
  }
  return value.As<Napi::String>().Utf8Value();
}

std::string Args::String(const char* name, const char* fallback) {
  return Has(name) ? String(name) : fallback;
}

const int32_t* Args::CancelSlot() {
  if (!Has("cancel")) return nullptr;
  const Napi::Value value = Get("cancel");
  JsArray array;
  if (!ReadArray(env_, value, &array) || array.type != napi_int32_array) {
    Fail(InvalidArgument("\"cancel\" is of the wrong type", "an Int32Array", Describe(value)));
  }
  if (array.length == 0) {
    Fail(ShapeMismatch("\"cancel\" must hold the flag", "an Int32Array of length 1", "length 0"));
  }
  // It is polled where it lies for as long as the call runs, so it must be memory that stays.
  if (!Shared(env_, array)) {
    Fail(InvalidArgument("\"cancel\" must be shared memory", "an Int32Array on a SharedArrayBuffer",
                         "one on an ArrayBuffer"));
  }
  Hold(value);
  return array.as<int32_t>();
}

const Args::Reading* Args::Find(const char* name) const {
  for (const Reading& reading : readings_) {
    if (std::strcmp(reading.name, name) == 0) return &reading;
  }
  return nullptr;
}

void Args::CheckApart(const char* written, const char* other) const {
  const Reading *const a = Find(written), *const b = Find(other);
  if (a == nullptr || b == nullptr || !Overlap(a->data, a->bytes, b->data, b->bytes)) return;
  Fail(InvalidArgument(std::string("\"") + written + "\" must not be \"" + other + "\"",
                       "memory of its own", "memory that both share"));
}

void Args::Seal() const {
  for (const Reading& reading : readings_) {
    if (!reading.in_place) continue;
    JsArray now;
    ReadArray(env_, reading.value, &now);
    if (now.data != reading.data || now.length != reading.length) {
      Fail(InvalidArgument(std::string("\"") + reading.name + "\" changed while the call was made",
                           "an array that no getter of the arguments touches", "a detached array"));
    }
    if (reading.use != Use::kAddresses) continue;
    for (const Reading& other : readings_) {
      if (other.use == Use::kWritten && other.in_place) CheckApart(other.name, reading.name);
    }
  }
  for (const RowPointers& pointers : row_pointers_) {
    if (*pointers.last == pointers.nnz) continue;
    Fail(InvalidArgument(std::string("\"") + pointers.name + "\" changed while the call was made",
                         "row pointers that no getter of the arguments touches",
                         "other row pointers"));
  }
}

}  // namespace prismrec
