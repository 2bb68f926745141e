// Everything that depends on the instruction set, compiled once for each.
//
// Nothing here may be shared with other files at link time: an inline function of the standard library, compiled for wide
// vectors, could be taken for the whole program.
#include <new>

#include "backward.h"
#include "forward.h"

namespace lstmjax::LSTMJAX_ISA {

namespace {

template <template <class> class CellOf>
void pack_cell(const Weights& weights, void* packed) {
  constexpr int gates = CellOf<float>::gates;
  const Scratch row(static_cast<std::size_t>(gates * weights.hidden) * sizeof(double));
  if (weights.element == Element::float64) {
    pack<double>(gates, weights, row.as<double>(), static_cast<double*>(packed));
  } else {
    pack<float>(gates, weights, row.as<float>(), static_cast<float*>(packed));
  }
}

template <class S>
void turn(int gates, const Weights& weights, S* packed) {
  const Scratch row(static_cast<std::size_t>(gates * weights.hidden) * sizeof(S));
  const Panels<S> panels(weights.hidden, gates);
  pack_turned(weights.element, weights.w_h, weights.hidden, panels, row.as<S>(), packed);
  packed += panels.total() * Columns<S>(weights.hidden).padded();
  pack_turned(weights.element, weights.w_x, weights.inputs, panels, row.as<S>(), packed);
}

// One call's layers: on a thread each where there are enough of them, else one after the other on all threads.
template <class F>
void each_layer(Index count, Team& team, const F& f) {
  if (count >= team.size() && count > 1) {
    team.each(static_cast<int>(count), [&](int i) { f(i, Crew{nullptr}); });
  } else {
    for (Index i = 0; i < count; ++i) f(i, Crew{team.size() > 1 ? &team : nullptr});
  }
}

void pack_any(CellKind kind, const Weights& weights, void* packed) {
  kind == CellKind::lstm ? pack_cell<LSTM>(weights, packed) : pack_cell<GRU>(weights, packed);
}

void turn_any(CellKind kind, const Weights& weights, void* packed) {
  const int gates = kind == CellKind::lstm ? 4 : 3;
  if (weights.element == Element::float64) return turn(gates, weights, static_cast<double*>(packed));
  turn(gates, weights, static_cast<float*>(packed));
}

template <class S>
void forward_one(CellKind kind, const Layer& layer, const Results& results, const Crew& crew) {
  kind == CellKind::lstm ? forward<S, LSTM>(layer, results, crew) : forward<S, GRU>(layer, results, crew);
}

template <class S>
void backward_one(CellKind kind, const Layer& layer, const Gradients& gradients, const Crew& crew) {
  kind == CellKind::lstm ? backward<S, LSTM>(layer, gradients, crew) : backward<S, GRU>(layer, gradients, crew);
}

void forward_any(CellKind kind, const Layer* layers, const Results* results, Index count, Team& team) {
  each_layer(count, team, [&](Index i, const Crew& crew) {
    const bool wide = layers[i].element == Element::float64;
    wide ? forward_one<double>(kind, layers[i], results[i], crew) : forward_one<float>(kind, layers[i], results[i], crew);
  });
}

void backward_any(CellKind kind, const Layer* layers, const Gradients* gradients, Index count, Team& team) {
  each_layer(count, team, [&](Index i, const Crew& crew) {
    const bool wide = layers[i].element == Element::float64;
    wide ? backward_one<double>(kind, layers[i], gradients[i], crew) : backward_one<float>(kind, layers[i], gradients[i], crew);
  });
}

}  // namespace

#define LSTMJAX_NAME_OF(isa) #isa
#define LSTMJAX_NAME(isa) LSTMJAX_NAME_OF(isa)

extern const Kernels kernels;
const Kernels kernels{LSTMJAX_NAME(LSTMJAX_ISA), vector_bytes, pack_any, turn_any, forward_any, backward_any};

}  // namespace lstmjax::LSTMJAX_ISA
