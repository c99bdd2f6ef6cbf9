#include <cmath>

#include "ops/embedding_rows/embedding_rows.h"

namespace prismrec::embedding_rows::reference {

void Adam(const AdamOptions& options, uint64_t step, double* values, double* m, double* v,
          const double* gradients, size_t n) {
  const double t = static_cast<double>(step);
  const double first_correction = 1 - std::pow(options.beta1, t);
  const double second_correction = 1 - std::pow(options.beta2, t);
  for (size_t i = 0; i < n; ++i) {
    const double g = gradients[i] * options.gradient_scale;
    m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
    v[i] = options.beta2 * v[i] + (1 - options.beta2) * g * g;
    const double first = m[i] / first_correction;
    const double second = v[i] / second_correction;
    values[i] -= options.learning_rate * options.weight_decay * values[i];
    values[i] -= options.learning_rate * first / (std::sqrt(second) + options.epsilon);
  }
}

}  // namespace prismrec::embedding_rows::reference
