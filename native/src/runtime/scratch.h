// Memory for intermediate results, not initialised: zeroing it would cost as much as some of the
// work done in it.
#ifndef PRISMREC_RUNTIME_SCRATCH_H_
#define PRISMREC_RUNTIME_SCRATCH_H_

#include <cstddef>
#include <memory>

namespace prismrec {

class Scratch {
 public:
  // At least `floats`; what was there is lost where it has to grow.
  void Reserve(size_t floats) {
    if (floats <= size_) return;
    data_.reset();
    data_.reset(new float[floats]);
    size_ = floats;
  }

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  float& operator[](size_t i) { return data_[i]; }

 private:
  std::unique_ptr<float[]> data_;
  size_t size_ = 0;
};

}  // namespace prismrec

#endif  // PRISMREC_RUNTIME_SCRATCH_H_
