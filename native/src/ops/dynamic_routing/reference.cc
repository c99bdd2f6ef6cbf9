#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/dynamic_routing/dynamic_routing.h"

namespace prismrec::dynamic_routing::reference {
namespace {

constexpr double kSquashEpsilon = 1e-9;

// [K, T, d] what each event of a user says about each interest
std::vector<double> Predictions(const Problem& p, size_t user) {
  std::vector<double> u(p.interests * p.length * p.dim);
  for (size_t k = 0; k < p.interests; ++k) {
    for (size_t t = 0; t < p.lengths[user]; ++t) {
      const float* x = p.event(user * p.length + t);
      for (size_t c = 0; c < p.dim; ++c) {
        double sum = 0;
        for (size_t i = 0; i < p.dim; ++i) {
          const size_t column = (p.shared ? 0 : k * p.dim) + c;
          sum += static_cast<double>(x[i]) * p.map(t)[i * p.map_cols() + column];
        }
        u[(k * p.length + t) * p.dim + c] = sum;
      }
    }
  }
  return u;
}

double Dot(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

Status Forward(const ForwardArgs& args, const CancelFlag& cancel) {
  const Problem& p = args.problem;
  std::fill(args.coefficients, args.coefficients + p.users * p.interests * p.length, 0.0f);
  for (size_t b = 0; b < p.users; ++b) {
    if (cancel.Cancelled()) return Cancelled();
    const std::vector<double> u = Predictions(p, b);
    std::vector<double> logits(args.initial, args.initial + p.interests * p.length);
    std::vector<double> weights(logits.size()), sum(p.dim);
    for (size_t round = 1; round <= args.iterations; ++round) {
      for (size_t t = 0; t < p.lengths[b]; ++t) {
        double top = logits[t];
        for (size_t k = 1; k < p.interests; ++k) top = std::max(top, logits[k * p.length + t]);
        double total = 0;
        for (size_t k = 0; k < p.interests; ++k) total += std::exp(logits[k * p.length + t] - top);
        for (size_t k = 0; k < p.interests; ++k) {
          weights[k * p.length + t] = std::exp(logits[k * p.length + t] - top) / total;
        }
      }
      for (size_t k = 0; k < p.interests; ++k) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (size_t t = 0; t < p.lengths[b]; ++t) {
          for (size_t c = 0; c < p.dim; ++c) {
            sum[c] += weights[k * p.length + t] * u[(k * p.length + t) * p.dim + c];
          }
        }
        const double squared = Dot(sum.data(), sum.data(), p.dim);
        const double factor = std::sqrt(squared + kSquashEpsilon) / (1 + squared);
        for (size_t t = 0; t < p.lengths[b]; ++t) {
          logits[k * p.length + t] +=
              factor * Dot(&u[(k * p.length + t) * p.dim], sum.data(), p.dim);
        }
        const size_t interest = b * p.interests + k;
        for (size_t c = 0; c < p.dim; ++c) {
          args.sums[interest * p.dim + c] = static_cast<float>(sum[c]);
          args.vectors[interest * p.dim + c] = static_cast<float>(factor * sum[c]);
        }
        for (size_t t = 0; t < p.lengths[b]; ++t) {
          args.coefficients[interest * p.length + t] =
              static_cast<float>(weights[k * p.length + t]);
        }
      }
    }
  }
  return Status::Ok();
}

Status Backward(const BackwardArgs& args, const CancelFlag& cancel) {
  const Problem& p = args.problem;
  std::vector<double> devents(p.users * p.length * p.dim), dmaps(p.map_count * p.map_size());
  for (size_t interest = 0; interest < p.users * p.interests; ++interest) {
    if (cancel.Cancelled()) return Cancelled();
    const size_t user = interest / p.interests;
    const size_t first = p.shared ? 0 : interest % p.interests * p.dim;
    const std::vector<double> sum(args.sums + interest * p.dim,
                                  args.sums + (interest + 1) * p.dim);
    const std::vector<double> dvector(args.vector_gradient + interest * p.dim,
                                      args.vector_gradient + (interest + 1) * p.dim);
    const double squared = Dot(sum.data(), sum.data(), p.dim);
    const double root = std::sqrt(squared + kSquashEpsilon);
    const double slope = ((1 + squared) / root - 2 * root) / ((1 + squared) * (1 + squared));
    const double along = slope * Dot(sum.data(), dvector.data(), p.dim);
    for (size_t t = 0; t < p.lengths[user]; ++t) {
      const size_t event = user * p.length + t;
      const size_t map = p.map(t) - p.maps;
      for (size_t c = 0; c < p.dim; ++c) {
        const double dsum = root / (1 + squared) * dvector[c] + along * sum[c];
        const double du = args.coefficients[interest * p.length + t] * dsum;
        for (size_t i = 0; i < p.dim; ++i) {
          const size_t weight = map + i * p.map_cols() + first + c;
          devents[event * p.dim + i] += du * p.maps[weight];
          dmaps[weight] += du * p.event(event)[i];
        }
      }
    }
  }
  std::copy(devents.begin(), devents.end(), args.event_gradient);
  std::copy(dmaps.begin(), dmaps.end(), args.map_gradient);
  return Status::Ok();
}

}  // namespace prismrec::dynamic_routing::reference
