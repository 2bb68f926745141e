// Everything that depends on the instruction set, compiled once for each.
//
// Nothing here may be shared with other files at link time: an inline function of the standard library, compiled for
// wide vectors, could be taken for the whole program.
#include <new>

#include "packing.h"
#include "passes.h"

namespace lstmjax::LSTMJAX_ISA {

namespace {

Crew whole(Team& team) {
  return Crew{team.size() > 1 ? &team : nullptr};
}

// One call's layers: on a thread each where there are enough of them, else one after the other on all threads.
template <class F>
void each_layer(Index count, Team& team, const F& f) {
  if (count >= team.size() && count > 1) {
    team.each(static_cast<int>(count), [&](int i) { f(i, Crew{nullptr}); });
  } else {
    for (Index i = 0; i < count; ++i) f(i, whole(team));
  }
}

// f of the cell's equations.
template <class S, class F>
auto with_cell(CellKind kind, const F& f) {
  if (kind == CellKind::lstm) return f(LSTM<S>{});
  if (kind == CellKind::gru) return f(GRU<S>{});
  return f(ResetBeforeGRU<S>{});
}

template <class S>
Panels<S> panels_of(CellKind kind, const Weights& weights) {
  return with_cell<S>(kind, [&](auto cell) { return panels_for<S, decltype(cell)>(weights.hidden); });
}

template <class S>
Index packed_numbers(CellKind kind, const Weights& weights) {
  return (weights.inputs + weights.hidden + 2) * panels_of<S>(kind, weights).total();
}

template <class S>
Index turned_numbers(CellKind kind, const Weights& weights) {
  const Index columns = Columns<S>(weights.inputs).padded() + Columns<S>(weights.hidden).padded();
  return columns * panels_of<S>(kind, weights).total();
}

Index packed_bytes(CellKind kind, const Weights& weights) {
  return weights.element == Element::float64 ? packed_numbers<double>(kind, weights) * 8
                                             : packed_numbers<float>(kind, weights) * 4;
}

Index turned_bytes(CellKind kind, const Weights& weights) {
  return weights.element == Element::float64 ? turned_numbers<double>(kind, weights) * 8
                                             : turned_numbers<float>(kind, weights) * 4;
}

void pack_any(CellKind kind, const Weights& weights, void* packed, Team& team) {
  if (weights.element == Element::float64) {
    pack(panels_of<double>(kind, weights), weights, whole(team), static_cast<double*>(packed));
  } else {
    pack(panels_of<float>(kind, weights), weights, whole(team), static_cast<float*>(packed));
  }
}

void turn_any(CellKind kind, const Weights& weights, void* turned, Team& team) {
  if (weights.element == Element::float64) {
    turn(panels_of<double>(kind, weights), weights, whole(team), static_cast<double*>(turned));
  } else {
    turn(panels_of<float>(kind, weights), weights, whole(team), static_cast<float*>(turned));
  }
}

template <class S>
void forward_one(CellKind kind, const Layer& layer, const Results& results, const Crew& crew) {
  with_cell<S>(kind, [&](auto cell) { forward<S, decltype(cell)>(layer, results, crew); });
}

template <class S>
void backward_one(CellKind kind, const Layer& layer, const Gradients& gradients, const Crew& crew) {
  with_cell<S>(kind, [&](auto cell) { backward<S, decltype(cell)>(layer, gradients, crew); });
}

void forward_any(CellKind kind, const Layer* layers, const Results* results, Index count, Team& team) {
  each_layer(count, team, [&](Index i, const Crew& crew) {
    const bool wide = layers[i].element == Element::float64;
    wide ? forward_one<double>(kind, layers[i], results[i], crew)
         : forward_one<float>(kind, layers[i], results[i], crew);
  });
}

void backward_any(CellKind kind, const Layer* layers, const Gradients* gradients, Index count, Team& team) {
  each_layer(count, team, [&](Index i, const Crew& crew) {
    const bool wide = layers[i].element == Element::float64;
    wide ? backward_one<double>(kind, layers[i], gradients[i], crew)
         : backward_one<float>(kind, layers[i], gradients[i], crew);
  });
}

}  // namespace

#define LSTMJAX_NAME_OF(isa) #isa
#define LSTMJAX_NAME(isa) LSTMJAX_NAME_OF(isa)

extern const Kernels kernels;
const Kernels kernels{
    LSTMJAX_NAME(LSTMJAX_ISA), vector_bytes, packed_bytes, turned_bytes, pack_any, turn_any, forward_any, backward_any};

}  // namespace lstmjax::LSTMJAX_ISA
