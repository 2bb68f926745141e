// What XLA calls: buffers are checked, put into words of this library, and handed to the code of this machine.
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "flush.h"
#include "layer.h"
#include "scratch.h"
#include "team.h"
#include "xla/ffi/api/ffi.h"

#ifndef LSTMJAX_SOURCE_DIGEST
#define LSTMJAX_SOURCE_DIGEST "unknown"
#endif

namespace ffi = xla::ffi;

namespace lstmjax {

namespace {

using Result = ffi::Result<ffi::AnyBuffer>;

CellKind kind_of(int32_t cell) {
  return static_cast<CellKind>(cell);
}  // as calls.py numbers them

Index gates_of(CellKind kind) {
  return kind == CellKind::lstm ? 4 : 3;
}

bool element_of(ffi::DataType dtype, Element& element) {
  if (dtype == ffi::DataType::F32) return element = Element::float32, true;
  if (dtype == ffi::DataType::F64) return element = Element::float64, true;
  if (dtype == ffi::DataType::BF16) return element = Element::bfloat16, true;
  return false;
}

// One layer's part of an array with a leading axis of layers; null where the array is empty, which says that there is
// none.
void* part(const ffi::AnyBuffer& buffer, Index layer) {
  const auto shape = buffer.dimensions();
  if (buffer.element_count() == 0) return nullptr;
  const Index layers = shape[0];
  const Index bytes = static_cast<Index>(buffer.size_bytes()) / layers;
  return static_cast<char*>(buffer.untyped_data()) + (layers == 1 ? 0 : layer * bytes);
}

Sequences sequences(const ffi::AnyBuffer& buffer, Index layer, bool batch_major) {
  const auto shape = buffer.dimensions();
  const Index outer = shape[2] * shape[3], inner = shape[3];
  return {part(buffer, layer), batch_major ? outer : inner, batch_major ? inner : outer};
}

struct WeightArrays {
  ffi::AnyBuffer w_x, w_h, b, b_h;
};

Weights weights_of(const WeightArrays& arrays, Index i, Element element) {
  return {element,
          arrays.w_x.dimensions()[1],
          arrays.w_h.dimensions()[1],
          part(arrays.w_x, i),
          part(arrays.w_h, i),
          part(arrays.b, i),
          part(arrays.b_h, i)};
}

// Weights packed, or turned, for the length of a call: one for all layers, or one for each.
class PackedWeights {
 public:
  using Pack = void (*)(CellKind, const Weights&, void* packed, Team&);

  PackedWeights(const WeightArrays& arrays, Element element, CellKind kind, Pack pack,
                Index (*size)(CellKind, const Weights&), Team& team) {
    for (Index i = 0; i < arrays.w_x.dimensions()[0]; ++i) {
      const Weights weights = weights_of(arrays, i, element);
      blocks_.emplace_back(static_cast<std::size_t>(size(kind, weights)));
      pack(kind, weights, blocks_.back().as<void>(), team);
    }
  }
  const void* of(Index layer) const {
    return blocks_[blocks_.size() == 1 ? 0 : static_cast<std::size_t>(layer)].as<void>();
  }

 private:
  std::deque<Scratch> blocks_;
};

// The arrays that forward and backward both take.
struct Inputs {
  ffi::AnyBuffer xs, h_start, memory_start, h_initial, memory_initial, h_mask, valid, resets;
};

Layer layer_of(const Inputs& in, const ffi::AnyBuffer& ys, Index i, Element element, bool batch_major, bool reverse,
               Index chunk) {
  const auto xs = in.xs.dimensions();
  Layer layer;
  layer.element = element;
  layer.rows = batch_major ? xs[1] : xs[2];
  layer.steps = batch_major ? xs[2] : xs[1];
  layer.inputs = xs[3];
  layer.hidden = ys.dimensions()[3];
  layer.reverse = reverse;
  layer.chunk = chunk;
  layer.packed = nullptr;
  layer.xs = sequences(in.xs, i, batch_major);
  layer.h_start = part(in.h_start, i);
  layer.memory_start = part(in.memory_start, i);
  layer.h_initial = part(in.h_initial, i);
  layer.memory_initial = part(in.memory_initial, i);
  layer.h_mask = part(in.h_mask, i);
  layer.valid = static_cast<const bool*>(part(in.valid, i));
  layer.resets = static_cast<const bool*>(part(in.resets, i));
  layer.ys = sequences(ys, i, batch_major);
  return layer;
}

// Threads for so many multiplications: waking one is worth it from some ten microseconds on.
int threads_for(const ffi::ThreadPool& pool, double multiplications) {
  const double enough = 5e5;
  const auto threads = static_cast<int>(pool.num_threads());
  return multiplications < enough || threads < 1 ? 1 : threads;
}

int threads_for(const ffi::ThreadPool& pool, const Layer& layer, CellKind kind, std::size_t layers) {
  const double pairs = static_cast<double>(layer.steps * layer.rows) * static_cast<double>(layers);
  return threads_for(pool, pairs * static_cast<double>((layer.inputs + layer.hidden) * gates_of(kind) * layer.hidden));
}

Team::Schedule schedule_on(ffi::ThreadPool& pool) {
  return [&pool](std::function<void()> task) { pool.Schedule(std::move(task)); };
}

ffi::Error wrong_dtype(const ffi::AnyBuffer& buffer) {
  return ffi::Error::InvalidArgument("lstmjax: no code for XLA's element type " +
                                     std::to_string(static_cast<int>(buffer.element_type())));
}

ffi::Error Pack(ffi::ThreadPool pool, ffi::AnyBuffer w_x, ffi::AnyBuffer w_h, ffi::AnyBuffer b, ffi::AnyBuffer b_h,
                Result packed, int32_t cell) {
  const WeightArrays arrays{w_x, w_h, b, b_h};
  Element element;
  if (!element_of(w_x.element_type(), element)) return wrong_dtype(w_x);
  expect_writes(packed->untyped_data(), packed->size_bytes());
  Team team(threads_for(pool, static_cast<double>(packed->element_count()) * 8), schedule_on(pool));
  for (Index i = 0; i < w_x.dimensions()[0]; ++i) {
    kernels().pack(kind_of(cell), weights_of(arrays, i, element), part(*packed, i), team);
  }
  return ffi::Error::Success();
}

ffi::Error Forward(ffi::ThreadPool pool, ffi::AnyBuffer w_x, ffi::AnyBuffer w_h, ffi::AnyBuffer b, ffi::AnyBuffer b_h,
                   ffi::AnyBuffer packed, ffi::AnyBuffer xs, ffi::AnyBuffer h_start, ffi::AnyBuffer memory_start,
                   ffi::AnyBuffer h_initial, ffi::AnyBuffer memory_initial, ffi::AnyBuffer h_mask, ffi::AnyBuffer valid,
                   ffi::AnyBuffer resets, Result ys, Result h_end, Result memory_end, Result chunk_memory, Result gates,
                   int32_t cell, bool batch_major, bool reverse, int64_t chunk) {
  Element element;
  if (!element_of(xs.element_type(), element)) return wrong_dtype(xs);
  if (ys->element_count() == 0) return ffi::Error::Success();
  const Inputs in{xs, h_start, memory_start, h_initial, memory_initial, h_mask, valid, resets};
  std::vector<Layer> layers;
  std::vector<Results> results;
  for (Index i = 0; i < ys->dimensions()[0]; ++i) {
    layers.push_back(layer_of(in, *ys, i, element, batch_major, reverse, chunk));
    results.push_back({part(*h_end, i), part(*memory_end, i), part(*chunk_memory, i), part(*gates, i)});
  }
  expect_writes(ys->untyped_data(), ys->size_bytes());
  expect_writes(gates->untyped_data(), gates->size_bytes());

  const FlushSubnormals flush;
  const CellKind kind = kind_of(cell);
  Team team(threads_for(pool, layers[0], kind, layers.size()), schedule_on(pool));
  std::optional<PackedWeights> own;
  if (packed.element_count() == 0)
    own.emplace(WeightArrays{w_x, w_h, b, b_h}, element, kind, kernels().pack, kernels().packed_bytes, team);
  for (Index i = 0; i < static_cast<Index>(layers.size()); ++i) layers[i].packed = own ? own->of(i) : part(packed, i);
  kernels().forward(kind, layers.data(), results.data(), static_cast<Index>(layers.size()), team);
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool pool, ffi::AnyBuffer w_x, ffi::AnyBuffer w_h, ffi::AnyBuffer b, ffi::AnyBuffer b_h,
                    ffi::AnyBuffer xs, ffi::AnyBuffer h_start, ffi::AnyBuffer memory_start, ffi::AnyBuffer h_initial,
                    ffi::AnyBuffer memory_initial, ffi::AnyBuffer h_mask, ffi::AnyBuffer valid, ffi::AnyBuffer resets,
                    ffi::AnyBuffer ys, ffi::AnyBuffer chunk_memory, ffi::AnyBuffer gates, ffi::AnyBuffer d_ys,
                    ffi::AnyBuffer d_h_end, ffi::AnyBuffer d_memory_end, Result d_xs, Result d_w_x, Result d_w_h,
                    Result d_b, Result d_b_h, Result d_h_start, Result d_memory_start, Result d_h_initial,
                    Result d_memory_initial, int32_t cell, bool batch_major, bool reverse, int64_t chunk) {
  Element element;
  if (!element_of(xs.element_type(), element)) return wrong_dtype(xs);
  const Inputs in{xs, h_start, memory_start, h_initial, memory_initial, h_mask, valid, resets};
  std::vector<Layer> layers;
  std::vector<Gradients> gradients;
  for (Index i = 0; i < d_xs->dimensions()[0]; ++i) {
    layers.push_back(layer_of(in, ys, i, element, batch_major, reverse, chunk));
    gradients.push_back({sequences(d_ys, i, batch_major), part(d_h_end, i), part(d_memory_end, i),
                         part(chunk_memory, i), part(gates, i), nullptr, sequences(*d_xs, i, batch_major),
                         part(*d_w_x, i), part(*d_w_h, i), part(*d_b, i), part(*d_b_h, i), part(*d_h_start, i),
                         part(*d_memory_start, i), part(*d_h_initial, i), part(*d_memory_initial, i)});
  }
  if (layers.empty()) return ffi::Error::Success();
  expect_writes(d_xs->untyped_data(), d_xs->size_bytes());
  expect_writes(d_w_x->untyped_data(), d_w_x->size_bytes());
  expect_writes(d_w_h->untyped_data(), d_w_h->size_bytes());

  const FlushSubnormals flush;
  const CellKind kind = kind_of(cell);
  const WeightArrays weights{w_x, w_h, b, b_h};
  Team team(threads_for(pool, layers[0], kind, layers.size()), schedule_on(pool));
  const PackedWeights turned(weights, element, kind, kernels().turn, kernels().turned_bytes, team);
  std::optional<PackedWeights> packed;  // to compute the gates again
  if (gates.element_count() == 0) packed.emplace(weights, element, kind, kernels().pack, kernels().packed_bytes, team);
  for (Index i = 0; i < static_cast<Index>(layers.size()); ++i) {
    layers[i].packed = packed ? packed->of(i) : nullptr;
    gradients[i].turned = turned.of(i);
  }
  kernels().backward(kind, layers.data(), gradients.data(), static_cast<Index>(layers.size()), team);
  return ffi::Error::Success();
}

}  // namespace

}  // namespace lstmjax

#define LSTMJAX_EXPORT extern "C" __attribute__((visibility("default")))

LSTMJAX_EXPORT XLA_FFI_Error* LstmjaxPack(XLA_FFI_CallFrame*);
LSTMJAX_EXPORT XLA_FFI_Error* LstmjaxForward(XLA_FFI_CallFrame*);
LSTMJAX_EXPORT XLA_FFI_Error* LstmjaxBackward(XLA_FFI_CallFrame*);

using Any = ffi::AnyBuffer;

// clang-format off
XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmjaxPack, lstmjax::Pack, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Ret<Any>()
    .Attr<int32_t>("cell"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmjaxForward, lstmjax::Forward, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>()
    .Attr<int32_t>("cell").Attr<bool>("batch_major").Attr<bool>("reverse").Attr<int64_t>("chunk"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(LstmjaxBackward, lstmjax::Backward, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>().Arg<Any>()
    .Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>().Ret<Any>()
    .Attr<int32_t>("cell").Attr<bool>("batch_major").Attr<bool>("reverse").Attr<int64_t>("chunk"));
// clang-format on

LSTMJAX_EXPORT const char* lstmjax_native_digest() {
  return LSTMJAX_SOURCE_DIGEST;
}

LSTMJAX_EXPORT const char* lstmjax_native_isa() {
  return lstmjax::kernels().name;
}

// Numbers of `bytes` bytes in a vector.
LSTMJAX_EXPORT int lstmjax_native_lanes(int bytes) {
  return lstmjax::kernels().vector_bytes / bytes;
}
