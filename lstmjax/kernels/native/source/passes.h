// A whole layer forward and backward: rows, or units, dealt to threads.
#pragma once
#include "forward.h"
#include "weight_sums.h"

namespace lstmjax::LSTMJAX_ISA {

template <class S, class Cell>
void forward(const Layer& layer, const Results& results, const Crew& crew) {
  const Schedule schedule(layer);
  const Index threads = crew.size() < layer.rows ? crew.size() : layer.rows;
  const Index weight_bytes = layer.hidden * layer.hidden * Cell::gates * static_cast<Index>(sizeof(S));
  if (shares_units(layer, crew.size(), weight_bytes)) {
    Forward<S, Cell>(layer, results, Rows(layer, schedule, 0, 1)).run(crew);
  } else {
    crew.each(static_cast<int>(threads), [&](int share) {
      Forward<S, Cell>(layer, results, Rows(layer, schedule, share, threads)).run(Crew{nullptr});
    });
  }
}

// Backward with rows cut into `shares`, each with a crew of its own.
template <class S, class Cell>
class Walks {
 public:
  using Walk = Backward<S, Cell>;
  Walks(const Layer& layer, const Gradients& gradients, const Schedule& schedule, Index shares)
      : count_(shares), memory_(static_cast<std::size_t>(shares) * sizeof(Walk)) {
    for (Index i = 0; i < shares; ++i) new (&walk(i)) Walk(layer, gradients, Rows(layer, schedule, i, shares));
  }
  ~Walks() {
    for (Index i = 0; i < count_; ++i) walk(i).~Walk();
  }
  Walks(const Walks&) = delete;
  Walks& operator=(const Walks&) = delete;

  int count() const { return static_cast<int>(count_); }
  Walk& walk(Index i) const { return memory_.as<Walk>()[i]; }

 private:
  Index count_;
  Scratch memory_;
};

template <class S, class Cell>
void backward(const Layer& layer, const Gradients& gradients, const Crew& crew) {
  const Schedule schedule(layer);
  const Index state = layer.rows * layer.hidden;
  if (gradients.d_h_initial) clear(static_cast<S*>(gradients.d_h_initial), state);
  if (gradients.d_memory_initial) clear(static_cast<S*>(gradients.d_memory_initial), state);

  const Index weight_bytes = layer.hidden * layer.hidden * Cell::gates * static_cast<Index>(sizeof(S));
  const bool together = shares_units(layer, crew.size(), weight_bytes);
  const Index shares = together ? 1 : crew.size() < layer.rows ? crew.size() : layer.rows;
  const Crew crew_of_walk = together ? crew : Crew{nullptr};
  const Crew over_walks = together ? Crew{nullptr} : crew;

  const Walks<S, Cell> walks(layer, gradients, schedule, shares);
  WeightSums<S, Cell> sums(layer, gradients);
  crew.split(sums.blocks(), [&](Index from, Index to) { sums.begin(from, to); });
  over_walks.each(walks.count(), [&](int i) { walks.walk(i).begin(); });
  const Index longest = layer.rows > 0 ? schedule.length(schedule.row(0)) : 0;
  for (Index number = divide_up(longest, layer.chunk); number-- > 0;) {
    over_walks.each(walks.count(), [&](int i) { walks.walk(i).run_chunk(number, crew_of_walk); });
    crew.split(sums.blocks(), [&](Index from, Index to) {
      for (int i = 0; i < walks.count(); ++i) sums.add(walks.walk(i), from, to);
    });
  }
  over_walks.each(walks.count(), [&](int i) { walks.walk(i).finish(); });
  crew.split(sums.blocks(), [&](Index from, Index to) { sums.give(from, to); });
}

}  // namespace lstmjax::LSTMJAX_ISA
