// Memory may run out at any allocation: for every operation and every n, the n-th allocation fails. The answer is then
// OUT_OF_MEMORY, or right because the operation can do without; nothing crashes, and the next call is right.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "gemm/gemm.h"
#include "ops/contrastive_loss/contrastive_loss.h"
#include "ops/dynamic_routing/dynamic_routing.h"
#include "ops/embedding_rows/embedding_rows.h"
#include "ops/item_statistics/item_statistics.h"
#include "ops/max_cover/max_cover.h"
#include "ops/prefix_attention/prefix_attention.h"
#include "ops/similarity_search/similarity_search.h"
#include "ops/softmax_loss/softmax_loss.h"
#include "ops/tensor_kernels/dispatch.h"
#include "ops/tensor_kernels/tensor_kernels.h"
#include "runtime/task_group.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"
#include "test_harness.h"

namespace {

// Allocations until the one that fails; far below 0: none does.
std::atomic<long> countdown{-1};
std::atomic<long> failed{0};

void* Allocate(size_t bytes, size_t alignment) {
  if (countdown.load(std::memory_order_relaxed) >= 0 && countdown.fetch_sub(1) == 0) {
    ++failed;
    return nullptr;
  }
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes == 0 ? 1 : bytes);
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

void* AllocateOrThrow(size_t bytes, size_t alignment) {
  if (void* const memory = Allocate(bytes, alignment)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t bytes) { return AllocateOrThrow(bytes, 1); }
void* operator new[](size_t bytes) { return AllocateOrThrow(bytes, 1); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes, 1); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return Allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return AllocateOrThrow(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return Allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace prismrec {
namespace {

std::vector<float> Floats(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>((i * 7 + i / 13) % 29) / 29 - 0.45f;
  return values;
}

template <class T>
void Note(std::vector<double>* noted, const T& values) {
  noted->insert(noted->end(), values.begin(), values.end());
}

// Calls once as it is, then with every allocation failing in turn. `call` gives what it computed.
void EachAllocationFails(const char* name, const std::function<Status(std::vector<double>*)>& call) {
  const auto once = [&](std::vector<double>* noted, long fails) {
    // As from a fresh start: what a thread has kept needs no allocation.
    TrimWorkspaces();
    noted->clear();
    noted->reserve(size_t{1} << 14);
    countdown = fails;
    try {
      const OpScope scope;
      return call(noted);
    } catch (const std::bad_alloc&) {
      countdown = -1;
      return OutOfMemory("out of memory");
    }
  };
  std::vector<double> expected, noted;
  EXPECT_OK(once(&expected, -1));
  EXPECT_OK(once(&expected, -1));
  const long most = 20000;
  for (long n = 0; n < most; ++n) {
    test::SetContext(std::string(name) + ", allocation " + std::to_string(n));
    failed = 0;
    const Status status = once(&noted, n);
    countdown = -1;
    EXPECT_TRUE(status.ok() || status.code == StatusCode::kOutOfMemory);
    if (status.ok()) EXPECT_TRUE(noted == expected);
    if (failed == 0) return;
  }
  test::SetContext(name);
  EXPECT_TRUE(!"fewer allocations");
}

// More than one thread, but few: workers are made again where one could not be.
class Threads {
 public:
  Threads() : before_(ThreadPool::Global().threads()) { ThreadPool::Global().SetThreads(3); }
  ~Threads() { ThreadPool::Global().SetThreads(before_); }

 private:
  int before_;
};

const CancelFlag kNever;

TEST(products) {
  const Threads threads;
  const std::vector<float> a = Floats(70 * 50), b = Floats(50 * 90);
  EachAllocationFails("sgemm", [&](std::vector<double>* noted) {
    std::vector<float> c(70 * 90);
    GemmArgs args;
    args.m = 70, args.n = 90, args.k = 50;
    args.a = a.data(), args.lda = 50, args.b = b.data(), args.ldb = 90;
    args.c = c.data(), args.ldc = 90;
    Sgemm(args, ThreadPool::Global(), kNever);
    Note(noted, c);
    return Status::Ok();
  });
}

// Rows with a few entries each; column c of row r is spread over all columns.
struct Sparse {
  std::vector<uint32_t> indptr{0}, indices;
  size_t cols;

  Sparse(size_t rows, size_t columns, size_t entries) : cols(columns) {
    for (size_t r = 0; r < rows; ++r) {
      for (size_t e = 0; e < entries; ++e) {
        indices.push_back(static_cast<uint32_t>((r * 5 + e * (columns / entries)) % columns));
      }
      indptr.push_back(static_cast<uint32_t>(indices.size()));
    }
  }
  CsrView view(const float* values = nullptr) const {
    return {indptr.data(), indices.data(), values, indptr.size() - 1, cols};
  }
};

void Note(std::vector<double>* noted, const item_statistics::CsrMatrix& matrix) {
  Note(noted, matrix.indptr);
  Note(noted, matrix.indices);
  Note(noted, matrix.values);
}

TEST(item_statistics_of_all_kinds) {
  using namespace item_statistics;  // NOLINT: the operations of one folder
  const Threads threads;
  const Sparse rows(120, 70, 5);
  const std::vector<float> norms(70, 2.0f);
  EachAllocationFails("cooccurrence", [&](std::vector<double>* noted) {
    CsrMatrix out;
    const Status status = Cooccurrence({rows.view(), nullptr}, kNever, &out);
    Note(noted, out);
    return status;
  });
  EachAllocationFails("itemNeighbours", [&](std::vector<double>* noted) {
    CsrMatrix out;
    const Status status = ItemNeighbours({rows.view(), norms.data(), 4}, kNever, &out);
    Note(noted, out);
    return status;
  });
  EachAllocationFails("gram", [&](std::vector<double>* noted) {
    std::vector<float> out(70 * 70);
    const Status status = Gram({rows.view(), nullptr, 1.0, out.data()}, kNever);
    Note(noted, out);
    return status;
  });
  const Sparse counts(70, 70, 6);
  const std::vector<float> ones(counts.indices.size(), 3.0f);
  EachAllocationFails("ppmi", [&](std::vector<double>* noted) {
    CsrMatrix out;
    const Status status = Ppmi({counts.view(ones.data()), 0.75}, kNever, &out);
    Note(noted, out);
    return status;
  });
  const std::vector<float> start = Floats(70 * 4);
  EachAllocationFails("truncatedSvd", [&](std::vector<double>* noted) {
    std::vector<float> u(120 * 3), singular(3);
    SvdArgs args;
    args.matrix = rows.view();
    args.rank = 3, args.width = 4, args.blocks = 2, args.start = start.data();
    args.u = u.data(), args.singular_values = singular.data();
    const Status status = TruncatedSvd(args, kNever);
    Note(noted, singular);
    return status;
  });
  EachAllocationFails("choleskyInverse", [&](std::vector<double>* noted) {
    std::vector<float> a(90 * 90, 0.01f);
    for (size_t i = 0; i < 90; ++i) a[i * 91] = 2;
    const Variant<const gemm::Kernel*>* variant = Select(gemm::kVariants, nullptr);
    const Status status = CholeskyInverse({90, a.data()}, *variant->fn, kNever);
    if (status.ok()) Note(noted, a);
    return status;
  });
}

TEST(searches_and_files) {
  using namespace similarity_search;  // NOLINT: the operations of one folder
  const Threads threads;
  const std::string path = "allocation_test_" + std::to_string(getpid()) + ".index";
  const std::vector<float> items = Floats(600 * 8), queries = Floats(6 * 8), bias = Floats(600);
  const std::vector<uint32_t> indptr{0, 2, 3, 3}, exclude{1, 5, 7};
  ThreadPool& pool = ThreadPool::Global();
  const std::vector<float> additive = Floats(3 * 600);
  for (const Readout readout : {Readout::kMax, Readout::kLogSumExp}) {
    EachAllocationFails("similaritySearch", [&](std::vector<double>* noted) {
      std::unique_ptr<Index> index, opened;
      Status status = Index::Build({items.data(), 600, 8}, bias.data(), Metric::kCosine, pool, kNever, &index);
      if (status.ok()) status = index->Save(path, pool, kNever);
      if (status.ok()) status = Index::Open(path, false, pool, kNever, &opened);
      if (!status.ok()) return status;
      Args args;
      args.index = opened.get();
      args.queries = {queries.data(), 6, 8};
      args.interests_per_query = 2;
      args.exclude = {indptr.data(), exclude.data(), nullptr, 3, 600};
      args.k = 20;
      args.readout = readout;
      if (readout == Readout::kMax) args.additive = {additive.data(), 3, 600};
      if (readout == Readout::kLogSumExp) args.sparse_additive = {indptr.data(), exclude.data(), additive.data(), 3, 600};
      std::vector<uint32_t> ids(60), found(3);
      std::vector<float> scores(60);
      std::vector<uint16_t> interests(60);
      Outputs outputs;
      outputs.ids = ids.data(), outputs.scores = scores.data();
      outputs.interests = interests.data(), outputs.counts = found.data();
      status = Run(nullptr, args, outputs, pool, kNever);
      Note(noted, ids);
      Note(noted, scores);
      return status;
    });
  }
  std::remove(path.c_str());
}

TEST(covers_by_every_solver) {
  const Threads threads;
  const Sparse sets(150, 300, 9);
  const std::vector<float> weights(300, 1.5f), costs(150, 0.5f);
  for (const auto solver : {max_cover::Solver::kExact, max_cover::Solver::kLazy, max_cover::Solver::kStochastic}) {
    EachAllocationFails("maxCover", [&](std::vector<double>* noted) {
      max_cover::Args args;
      args.sets = sets.view();
      args.weights = weights.data(), args.costs = costs.data();
      args.max_sets = 20, args.max_cost = 8;
      args.solver = solver;
      max_cover::Outputs outputs;
      const Status status = max_cover::Run(nullptr, args, &outputs, kNever);
      Note(noted, outputs.selected);
      return status;
    });
  }
}

TEST(losses_with_gradients) {
  const Threads threads;
  const std::vector<float> rows = Floats(48 * 8), items = Floats(90 * 8), other = Floats(48 * 8 + 1);
  const std::vector<uint32_t> indptr = [] {
    std::vector<uint32_t> made(25);
    for (uint32_t r = 0; r < 25; ++r) made[r] = 2 * r;
    return made;
  }();
  std::vector<uint32_t> targets(48), candidates(30);
  for (uint32_t i = 0; i < 48; ++i) targets[i] = i * 3 % 90;
  for (uint32_t i = 0; i < 30; ++i) candidates[i] = i * 7 % 90;
  for (const bool sampled : {false, true}) {
    EachAllocationFails("softmaxLoss", [&](std::vector<double>* noted) {
      softmax_loss::Args args;
      args.interests = {rows.data(), 48, 8};
      args.interests_per_row = 2;
      args.items = {items.data(), 90, 8};
      args.targets = {indptr.data(), targets.data(), nullptr, 24, 90};
      if (sampled) args.candidates = candidates.data(), args.candidate_count = 30;
      std::vector<float> losses(24), interest(48 * 8), offset(48), item(90 * 8), bias(90);
      std::vector<uint32_t> ids(90);
      softmax_loss::Outputs outputs;
      outputs.row_losses = losses.data(), outputs.interest_gradient = interest.data();
      outputs.offset_gradient = offset.data(), outputs.item_gradient = item.data();
      outputs.bias_gradient = bias.data(), outputs.item_ids = sampled ? ids.data() : nullptr;
      const Status status = softmax_loss::Run(nullptr, args, &outputs, kNever);
      Note(noted, losses);
      Note(noted, interest);
      return status;
    });
  }
  std::vector<int32_t> groups(48), labels(48);
  for (int i = 0; i < 48; ++i) groups[i] = i % 3, labels[i] = i % 5;
  for (const auto kind : {contrastive_loss::Kind::kInfoNce, contrastive_loss::Kind::kSupervised}) {
    EachAllocationFails("contrastiveLoss", [&](std::vector<double>* noted) {
      contrastive_loss::Args args;
      args.kind = kind;
      args.temperature = 0.2f;
      args.rows = {rows.data(), 48, 8};
      args.positives = {other.data() + 1, 48, 8};
      args.groups = groups.data(), args.labels = labels.data();
      std::vector<float> losses(48), gradient(48 * 8), positive(48 * 8);
      contrastive_loss::Outputs outputs;
      outputs.row_losses = losses.data(), outputs.row_gradient = gradient.data();
      if (kind == contrastive_loss::Kind::kInfoNce) outputs.positive_gradient = positive.data();
      const Status status = contrastive_loss::Run(nullptr, args, &outputs, kNever);
      Note(noted, losses);
      Note(noted, gradient);
      return status;
    });
  }
}

TEST(routing_and_its_gradient) {
  const Threads threads;
  const std::vector<float> events = Floats(6 * 5 * 4), maps = Floats(4 * 12), initial = Floats(15);
  const std::vector<uint32_t> lengths{5, 3, 0, 1, 4, 5};
  dynamic_routing::Problem problem;
  problem.users = 6, problem.length = 5, problem.interests = 3, problem.dim = 4, problem.map_count = 1;
  problem.lengths = lengths.data(), problem.events = events.data(), problem.maps = maps.data();
  std::vector<float> vectors(72), sums(72), coefficients(90);
  EachAllocationFails("dynamicRouting", [&](std::vector<double>* noted) {
    const Status status = dynamic_routing::Forward(
        nullptr, {problem, 3, initial.data(), vectors.data(), sums.data(), coefficients.data()}, kNever);
    Note(noted, vectors);
    return status;
  });
  EachAllocationFails("dynamicRoutingGrad", [&](std::vector<double>* noted) {
    std::vector<float> event(120), map(48);
    const Status status = dynamic_routing::Backward(
        nullptr, {problem, coefficients.data(), sums.data(), vectors.data(), event.data(), map.data()}, kNever);
    Note(noted, map);
    return status;
  });
}

TEST(kernels_of_a_training_step) {
  const Threads threads;
  const std::vector<float> x = Floats(64 * 20), y = Floats(64 * 20);
  const tensor::KernelTable& table = tensor::ActiveTable();
  EachAllocationFails("tensorLayerNormGrad", [&](std::vector<double>* noted) {
    std::vector<float> dx(64 * 20), dgamma(20), dbeta(20), mean(64, 0.1f), rstd(64, 0.9f);
    tensor::LayerNormGrad(table, x.data(), y.data(), mean.data(), rstd.data(), y.data(), dx.data(), dgamma.data(),
                          dbeta.data(), 64, 20);
    Note(noted, dx);
    Note(noted, dgamma);
    return Status::Ok();
  });
  EachAllocationFails("tensorMatmul", [&](std::vector<double>* noted) {
    std::vector<float> out(2 * 30 * 30);
    const uint32_t offsets[] = {0, 600};
    tensor::Matmul({x.data(), y.data(), out.data(), offsets, offsets, 2, 30, 30, 20, false, true});
    Note(noted, out);
    return Status::Ok();
  });
  std::vector<int32_t> segments(64);
  std::vector<uint32_t> ids(64);
  for (int i = 0; i < 64; ++i) segments[i] = i * 5 % 7, ids[i] = static_cast<uint32_t>(i * 5 % 7);
  EachAllocationFails("tensorSegmentSum", [&](std::vector<double>* noted) {
    std::vector<float> out(7 * 20);
    tensor::SegmentSum(x.data(), segments.data(), out.data(), 64, 7, 20);
    Note(noted, out);
    return Status::Ok();
  });
  const embedding_rows::Spans& spans = *embedding_rows::SpansNamed(nullptr);
  EachAllocationFails("embeddingMergeRows", [&](std::vector<double>* noted) {
    std::vector<float> out(64 * 20);
    const embedding_rows::RowGroups groups = embedding_rows::GroupRows(ids.data(), 64);
    embedding_rows::SumGroups(spans, groups, {{x.data(), 40}, {y.data(), 24}}, out.data(), 20);
    Note(noted, out);
    return Status::Ok();
  });
  EachAllocationFails("embeddingScatterAddRows", [&](std::vector<double>* noted) {
    std::vector<float> rows(7 * 20);
    std::vector<int32_t> inverse(64);
    embedding_rows::ScatterAddRows(spans, rows.data(), 7, ids.data(), x.data(), 64, 20);
    Note(noted, embedding_rows::UniqueRows(ids.data(), 64, inverse.data()));
    Note(noted, rows);
    return Status::Ok();
  });
  const std::vector<uint32_t> lengths{4, 3};
  const std::vector<int16_t> clusters{0, 1, -1, 1, 0, 0, 1, 0};
  const std::vector<int32_t> positions{0, 2, 1, -1};
  const prefix_attention::Problem problem{2, 4, 2, 2, 2, lengths.data(), clusters.data(), positions.data()};
  EachAllocationFails("prefixAttention", [&](std::vector<double>* noted) {
    std::vector<float> weights(2 * 2 * 4 * 4), gradient(2 * 3 * 4);
    prefix_attention::Forward(problem, x.data(), weights.data());
    prefix_attention::Backward(problem, weights.data(), y.data(), gradient.data());
    Note(noted, gradient);
    return Status::Ok();
  });
}

TEST(threads_that_cannot_be_made) {
  const int before = ThreadPool::Global().threads();
  // Each loop may have one thread more than there are, and making it fails at one allocation or another.
  for (int n = 0; n < 24; ++n) {
    ThreadPool::Global().SetThreads(4 + n);
    std::atomic<int> ran{0};
    bool refused = false;
    countdown = n % 6;
    try {
      ThreadPool::Global().ParallelFor(64, kNever, [&](size_t, int) {
        ++ran;
        usleep(100);
      });
    } catch (const std::bad_alloc&) {
      refused = true;
    }
    countdown = -1;
    EXPECT_EQ(ran.load(), refused ? 0 : 64);
  }
  ThreadPool::Global().SetThreads(before);
}

TEST(tasks_of_the_pool) {
  const Threads threads;
  EachAllocationFails("submit", [&](std::vector<double>* noted) {
    std::atomic<int> ran{0};
    int submitted = 0;
    TaskGroup group;
    try {
      for (; submitted < 5; ++submitted) group.Submit([&ran] { ++ran; });
    } catch (const std::bad_alloc&) {
      // What was submitted before it runs all the same, and what was not does not.
      while (ran < submitted) usleep(100);
      throw;
    }
    while (ran < 5) usleep(100);
    noted->push_back(submitted);
    return Status::Ok();
  });
}

}  // namespace
}  // namespace prismrec
