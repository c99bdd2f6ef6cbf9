#include "ops/dynamic_routing/cuda/dynamic_routing.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "cuda/runtime.cuh"
#include "ops/dynamic_routing/cuda/kernels.cuh"

namespace prismrec::dynamic_routing {
namespace {

using cuda::Session;

// A wave's events for each of the device's processors, and floats of its predictions: several blocks for every
// processor, and predictions that are in the second-level cache still when the rounds read them.
constexpr size_t kWaveEvents = 128;
constexpr size_t kWaveFloats = size_t{1} << 26;
// Blocks that the maps' gradients are cut into where there are few maps, and tiles of a part at least.
constexpr size_t kGradientBlocks = 1024;
constexpr size_t kPartTiles = 4;
// Operations between two looks at the flag for cancellation: a few milliseconds.
constexpr double kPollOperations = 1e11;

size_t Tiles(size_t count) { return (count + kTile - 1) / kTile; }

// Waits for the stream now and then, so that a cancelled call ends soon.
class Pace {
 public:
  explicit Pace(Session& session) : session_(session) {}
  void Add(double operations) {
    sum_ += operations;
    if (sum_ < kPollOperations) return;
    session_.Synchronize();
    sum_ = 0;
  }

 private:
  Session& session_;
  double sum_ = 0;
};

struct Range {
  int first = 0;
  int last = 0;
};

// Events side by side that meet one map, in tiles.
struct EventList {
  std::vector<int2> rows;
  std::vector<RowTile> tiles;

  // The events of some users, in that order. `predictions` [users]: those that have a gradient; null: none is asked for.
  void Add(const Problem& problem, const std::vector<uint32_t>& users, const std::vector<Range>* predictions) {
    const bool one_map = problem.map_count == 1;
    std::vector<size_t> begin(one_map ? 2 : problem.length + 1, 0);
    for (const uint32_t user : users) {
      if (one_map) begin[1] += problem.lengths[user];
      for (size_t t = 0; !one_map && t < problem.lengths[user]; ++t) ++begin[t + 1];
    }
    begin[0] = rows.size();
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    rows.resize(begin.back());
    std::vector<size_t> next(begin.begin(), begin.end() - 1);
    for (const uint32_t user : users) {
      for (uint32_t t = 0; t < problem.lengths[user]; ++t) {
        rows[next[one_map ? 0 : t]++] = {static_cast<int>(user), static_cast<int>(t)};
      }
    }
    for (size_t map = 0; map + 1 < begin.size(); ++map) {
      for (size_t at = begin[map]; at < begin[map + 1]; at += kTile) {
        const size_t end = std::min(begin[map + 1], at + kTile);
        RowTile tile{static_cast<int>(map), static_cast<int>(at), static_cast<int>(end - at), 0, 0};
        if (predictions != nullptr) {
          tile.first = static_cast<int>(problem.predictions());
          for (size_t i = at; i < end; ++i) {
            const Range& own = (*predictions)[static_cast<size_t>(rows[i].x)];
            tile.first = std::min(tile.first, own.first);
            tile.last = std::max(tile.last, own.last);
          }
        }
        tiles.push_back(tile);
      }
    }
  }
};

DeviceBatch Upload(Session& session, const Problem& problem, const EventList& list) {
  DeviceBatch batch{};
  batch.length = static_cast<int>(problem.length);
  batch.interests = static_cast<int>(problem.interests);
  batch.dim = static_cast<int>(problem.dim);
  batch.columns = static_cast<int>(problem.map_cols());
  batch.shared = problem.shared;
  batch.events = session.Upload(problem.events, problem.users * problem.length * problem.dim);
  batch.maps = session.Upload(problem.maps, problem.map_count * problem.map_size());
  batch.rows = session.Upload(list.rows.data(), list.rows.size());
  batch.tiles = session.Upload(list.tiles.data(), list.tiles.size());
  return batch;
}

// Users whose predictions are on the device at a time.
struct Wave {
  size_t first_user, end_user;
  size_t first_tile, end_tile;
  size_t most;  // events of a user
};

// offsets [users]: a user's first prediction among those of its wave.
std::vector<Wave> CutWaves(const Problem& problem, size_t events, EventList* list, std::vector<uint32_t>* offsets) {
  std::vector<Wave> waves;
  for (size_t user = 0; user < problem.users;) {
    Wave wave{user, user, list->tiles.size(), 0, 0};
    std::vector<uint32_t> users;
    size_t count = 0;
    while (user < problem.users && (count == 0 || count + problem.lengths[user] <= events)) {
      (*offsets)[user] = static_cast<uint32_t>(count);
      users.push_back(static_cast<uint32_t>(user));
      count += problem.lengths[user];
      wave.most = std::max<size_t>(wave.most, problem.lengths[user]);
      ++user;
    }
    list->Add(problem, users, nullptr);
    wave.end_user = user;
    wave.end_tile = list->tiles.size();
    waves.push_back(wave);
  }
  return waves;
}

void RunForward(Session& session, const ForwardArgs& args) {
  const Problem& problem = args.problem;
  const size_t columns = problem.map_cols();
  const size_t sum_count = problem.users * problem.interests * problem.dim;
  const size_t wave_events = std::max<size_t>(
      1, std::min(kWaveFloats / columns, kWaveEvents * static_cast<size_t>(session.traits().processors)));
  EventList list;
  std::vector<uint32_t> offsets(problem.users);
  const std::vector<Wave> waves = CutWaves(problem, wave_events, &list, &offsets);
  size_t most_rows = 0;
  size_t most_scratch = 0;
  const auto in_shared = [&](const Wave& wave) {
    const double floats = static_cast<double>(wave.most) * static_cast<double>(columns + 2 * problem.interests) +
                          static_cast<double>(problem.interests * (problem.dim + 1));
    if (floats * sizeof(float) > static_cast<double>(session.traits().shared_bytes)) return size_t{0};
    const size_t bytes = RouteBytes(static_cast<int>(problem.interests), static_cast<int>(wave.most),
                                    static_cast<int>(problem.dim), static_cast<int>(columns));
    return bytes <= session.traits().shared_bytes ? bytes : 0;
  };
  for (const Wave& wave : waves) {
    const size_t last = wave.end_user - 1;
    most_rows = std::max<size_t>(most_rows, offsets[last] + problem.lengths[last]);
    if (in_shared(wave) > 0) continue;
    const size_t scratch = RouteScratch(static_cast<int>(problem.interests), static_cast<int>(wave.most));
    most_scratch = std::max(most_scratch, (wave.end_user - wave.first_user) * scratch);
  }

  const DeviceBatch batch = Upload(session, problem, list);
  float* predictions = session.Allocate<float>(most_rows * columns);
  RouteArgs route{};
  route.length = batch.length;
  route.interests = batch.interests;
  route.dim = batch.dim;
  route.columns = batch.columns;
  route.interest_stride = problem.shared ? 0 : batch.dim;
  route.iterations = static_cast<int>(std::min<size_t>(args.iterations, INT32_MAX));
  route.lengths = session.Upload(problem.lengths, problem.users);
  route.offsets = session.Upload(offsets.data(), offsets.size());
  route.initial = session.Upload(args.initial, problem.interests * problem.length);
  route.predictions = predictions;
  route.scratch = session.Allocate<float>(most_scratch);
  route.vectors = session.Allocate<float>(sum_count);
  route.sums = session.Allocate<float>(sum_count);
  route.coefficients = session.Allocate<float>(problem.users * problem.interests * problem.length);
  Pace pace(session);
  for (const Wave& wave : waves) {
    session.CheckCancelled();
    const size_t tiles = wave.end_tile - wave.first_tile;
    if (tiles > 0) {
      DeviceBatch part = batch;
      part.tiles += wave.first_tile;
      const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(Tiles(columns)));
      cuda::WithTile(session.traits(), [&](auto, auto tensor) {
        PRISMREC_CUDA_LAUNCH(PredictKernel<decltype(tensor)::value>, grid, dim3(kTileThreads),
                             kTileRowBytes + 2 * kPanelBytes, session.stream(), part, route.offsets, predictions);
      });
    }
    route.first_user = static_cast<int>(wave.first_user);
    route.most = static_cast<int>(wave.most);
    const dim3 users(static_cast<unsigned>(wave.end_user - wave.first_user));
    if (const size_t bytes = in_shared(wave); bytes > 0) {
      PRISMREC_CUDA_LAUNCH(RouteKernel<true>, users, dim3(kRouteThreads), bytes, session.stream(), route);
    } else {
      PRISMREC_CUDA_LAUNCH(RouteKernel<false>, users, dim3(kRouteThreads), 0, session.stream(), route);
    }
    const double rounds = 4.0 * static_cast<double>(args.iterations) * static_cast<double>(problem.interests);
    pace.Add(static_cast<double>(tiles * kTile) * static_cast<double>(problem.dim) *
             (2.0 * static_cast<double>(columns) + rounds));
  }
  session.Download(args.vectors, route.vectors, sum_count);
  session.Download(args.sums, route.sums, sum_count);
  session.Download(args.coefficients, route.coefficients, problem.users * problem.interests * problem.length);
  session.Synchronize();
}

// The users with a gradient, those of the same interests side by side, so that a tile skips the rest of its maps; and
// what they have: [users] first and last prediction.
std::vector<uint32_t> SortByGradient(const BackwardArgs& args, std::vector<Range>* predictions) {
  const Problem& problem = args.problem;
  std::vector<uint32_t> users;
  for (size_t user = 0; user < problem.users; ++user) {
    Range& own = (*predictions)[user];
    for (size_t k = 0; k < problem.interests; ++k) {
      const float* row = args.vector_gradient + (user * problem.interests + k) * problem.dim;
      if (std::all_of(row, row + problem.dim, [](float g) { return g == 0.0f; })) continue;
      if (own.last == 0) own.first = static_cast<int>(k);
      own.last = static_cast<int>(k) + 1;
    }
    if (own.last == 0) continue;
    users.push_back(static_cast<uint32_t>(user));
    if (problem.shared) own = {0, 1};
  }
  std::stable_sort(users.begin(), users.end(), [&](uint32_t a, uint32_t b) {
    const Range& x = (*predictions)[a];
    const Range& y = (*predictions)[b];
    return std::make_pair(x.first, x.last) < std::make_pair(y.first, y.last);
  });
  return users;
}

void FindEventGradient(Session& session, const DeviceBatch& batch, const RouteGradient& gradient, size_t tiles,
                       Pace* pace, float* event_gradient) {
  const double operations = 2.0 * kTile * static_cast<double>(batch.dim) * static_cast<double>(batch.columns);
  const size_t at_once = static_cast<size_t>(std::max(1.0, kPollOperations / operations));
  for (size_t first = 0; first < tiles; first += at_once) {
    const size_t count = std::min(at_once, tiles - first);
    DeviceBatch part = batch;
    part.tiles += first;
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(Tiles(static_cast<size_t>(batch.dim))));
    cuda::WithTile(session.traits(), [&](auto, auto tensor) {
      PRISMREC_CUDA_LAUNCH(EventGradientKernel<decltype(tensor)::value>, grid, dim3(kTileThreads),
                           kTileRowBytes + 2 * kPanelBytes, session.stream(), part, gradient, event_gradient);
    });
    pace->Add(operations * static_cast<double>(count));
  }
}

// map_gradient is zero on entry.
void FindMapGradient(Session& session, const DeviceBatch& batch, const RouteGradient& gradient,
                     const std::vector<RowTile>& tiles, Pace* pace, float* map_gradient) {
  const size_t dim = static_cast<size_t>(batch.dim);
  const size_t columns = static_cast<size_t>(batch.columns);
  const size_t map_size = dim * columns;
  // Tiles [begins[i], begins[i + 1]) meet map maps[i].
  std::vector<int> maps;
  std::vector<size_t> begins;
  size_t longest = 0;
  for (size_t t = 0; t <= tiles.size(); ++t) {
    if (t < tiles.size() && !maps.empty() && tiles[t].map == maps.back()) continue;
    if (!begins.empty()) longest = std::max(longest, t - begins.back());
    begins.push_back(t);
    if (t < tiles.size()) maps.push_back(tiles[t].map);
  }
  if (maps.empty()) return;
  const size_t outputs = Tiles(dim) * Tiles(columns);
  const size_t parts_per_map = std::clamp<size_t>(kGradientBlocks / (maps.size() * outputs), 1,
                                                  (longest + kPartTiles - 1) / kPartTiles);
  float* sums = parts_per_map == 1 ? nullptr : session.Allocate<float>(maps.size() * parts_per_map * map_size);
  std::vector<MapPart> parts;
  for (size_t i = 0; i < maps.size(); ++i) {
    const size_t count = begins[i + 1] - begins[i];
    for (size_t p = 0; p < parts_per_map; ++p) {
      float* out = sums != nullptr ? sums + parts.size() * map_size
                                   : map_gradient + static_cast<size_t>(maps[i]) * map_size;
      parts.push_back({static_cast<int>(begins[i] + count * p / parts_per_map),
                       static_cast<int>(begins[i] + count * (p + 1) / parts_per_map), out});
    }
  }
  const MapPart* device_parts = session.Upload(parts.data(), parts.size());
  const double operations = 2.0 * kTile * static_cast<double>(map_size);
  for (size_t first = 0; first < parts.size();) {
    double sum = 0;
    size_t count = 0;
    while (first + count < parts.size() && (count == 0 || sum < kPollOperations)) {
      sum += operations * (parts[first + count].end - parts[first + count].begin);
      ++count;
    }
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(Tiles(columns)),
                    static_cast<unsigned>(Tiles(dim)));
    cuda::WithTile(session.traits(), [&](auto, auto tensor) {
      PRISMREC_CUDA_LAUNCH(MapGradientKernel<decltype(tensor)::value>, grid, dim3(kTileThreads),
                           kTileRowBytes + 2 * kPanelBytes, session.stream(), batch, gradient, device_parts + first);
    });
    pace->Add(sum);
    first += count;
  }
  if (sums == nullptr) return;
  const int* device_maps = session.Upload(maps.data(), maps.size());
  const dim3 grid(static_cast<unsigned>((map_size + kSumThreads - 1) / kSumThreads),
                  static_cast<unsigned>(maps.size()));
  PRISMREC_CUDA_LAUNCH(SumPartsKernel, grid, dim3(kSumThreads), 0, session.stream(), sums, device_maps,
                       static_cast<int>(parts_per_map), map_size, map_gradient);
}

void RunBackward(Session& session, const BackwardArgs& args) {
  const Problem& problem = args.problem;
  const size_t interests = problem.users * problem.interests;
  const size_t events = problem.users * problem.length * problem.dim;
  const size_t weights = problem.map_count * problem.map_size();
  std::vector<Range> predictions(problem.users);
  EventList list;
  list.Add(problem, SortByGradient(args, &predictions), &predictions);
  const DeviceBatch batch = Upload(session, problem, list);
  float* event_gradient = session.Zeros<float>(events);
  float* map_gradient = session.Zeros<float>(weights);
  if (!list.tiles.empty()) {
    const float* sums = session.Upload(args.sums, interests * problem.dim);
    const float* vector_gradient = session.Upload(args.vector_gradient, interests * problem.dim);
    float* sum_gradient = session.Allocate<float>(interests * problem.dim);
    const dim3 grid(static_cast<unsigned>((interests + kSquashRows - 1) / kSquashRows));
    PRISMREC_CUDA_LAUNCH(SquashGradientKernel, grid, dim3(kSquashThreads), 0, session.stream(), sums, vector_gradient,
                         static_cast<int>(interests), batch.dim, sum_gradient);
    const RouteGradient gradient{session.Upload(args.coefficients, interests * problem.length), sum_gradient};
    session.CheckCancelled();
    Pace pace(session);
    FindEventGradient(session, batch, gradient, list.tiles.size(), &pace, event_gradient);
    FindMapGradient(session, batch, gradient, list.tiles, &pace, map_gradient);
  }
  session.Download(args.event_gradient, event_gradient, events);
  session.Download(args.map_gradient, map_gradient, weights);
  session.Synchronize();
}

}  // namespace

Status ForwardOnCuda(const ForwardArgs& args, const CancelFlag& cancel) {
  return cuda::Guarded(cancel, [&](Session& session) { RunForward(session, args); });
}

Status BackwardOnCuda(const BackwardArgs& args, const CancelFlag& cancel) {
  return cuda::Guarded(cancel, [&](Session& session) { RunBackward(session, args); });
}

}  // namespace prismrec::dynamic_routing
