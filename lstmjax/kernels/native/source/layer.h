// What a call works on: sizes, and where everything lies. Shared by the code of every instruction set.
#pragma once
#include <cstddef>
#include <cstdint>

namespace lstmjax {

using Index = std::ptrdiff_t;

enum class CellKind { lstm, gru, gru_reset_before };

// How numbers lie in the caller's arrays; inside they are float, or double where the caller's are.
enum class Element { float32, float64, bfloat16 };

// An array [rows, steps, features], batch first or time first: strides are in elements.
struct Sequences {
  void* data;
  Index row_stride, step_stride;
};

// One layer in one direction over a batch. Pointers that may be missing are null.
struct Layer {
  Element element;
  Index steps, rows, inputs, hidden;
  bool reverse;
  Index chunk;         // steps that the backward pass takes at a time
  const void* packed;  // weights as `pack` lays them out; the backward pass needs them where gates are not kept
  Sequences xs;
  const void* h_start;       // [rows, hidden], as are all states
  const void* memory_start;  // c of an LSTM, in the dtype of sums
  const void* h_initial;     // what a reset goes back to
  const void* memory_initial;
  const void* h_mask;  // recurrent dropout: [rows, hidden], multiplies h where it enters the product
  const bool* valid;   // [steps, rows]
  const bool* resets;  // [steps, rows]
  Sequences ys;
};

struct Results {
  void* h_end;
  void* memory_end;
  void* chunk_memory;  // memory before each chunk's first step: [chunks, rows, padded hidden]
  void* gates;         // what the backward pass needs of the gates: [steps, rows, 4 * padded hidden], or null
};

struct Gradients {
  Sequences d_ys;
  const void* d_h_end;
  const void* d_memory_end;
  const void* chunk_memory;
  const void* gates;
  const void* turned;  // weights as `turn` lays them out
  Sequences d_xs;
  void* d_w_x;  // [inputs, gates * hidden], in the dtype of sums as all that follow
  void* d_w_h;  // [hidden, gates * hidden]
  void* d_b;    // [gates * hidden]
  void* d_b_h;  // [gates * hidden]
  void* d_h_start;
  void* d_memory_start;
  void* d_h_initial;
  void* d_memory_initial;
};

// Weights as the caller has them: w_x [inputs, gates * hidden], w_h [hidden, gates * hidden], biases [gates * hidden]
// or null.
struct Weights {
  Element element;
  Index inputs, hidden;
  const void *w_x, *w_h, *b, *b_h;
};

class Team;

// The code of one instruction set.
struct Kernels {
  const char* name;
  int vector_bytes;
  Index (*packed_bytes)(CellKind, const Weights&);
  Index (*turned_bytes)(CellKind, const Weights&);
  void (*pack)(CellKind, const Weights&, void* packed, Team&);
  void (*turn)(CellKind, const Weights&, void* turned, Team&);
  void (*forward)(CellKind, const Layer*, const Results*, Index count, Team&);
  void (*backward)(CellKind, const Layer*, const Gradients*, Index count, Team&);
};

const Kernels& kernels();  // of the widest vectors this machine has

}  // namespace lstmjax
