// Which instruction set's code runs.
#include <cstdlib>
#include <cstring>

#include "layer.h"

namespace lstmjax {

namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

namespace {

struct Choice {
  const Kernels* kernels;
  bool supported;
};

// The widest that is supported; LSTMJAX_NATIVE_ISA names another one that is.
const Kernels& choose() {
  const Choice choices[] = {
#if defined(__x86_64__)
      {&avx512::kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")},
      {&avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
      {&baseline::kernels, true},
  };
  const char* const wanted = std::getenv("LSTMJAX_NATIVE_ISA");
  for (const Choice& choice : choices) {
    if (choice.supported && wanted && std::strcmp(wanted, choice.kernels->name) == 0) return *choice.kernels;
  }
  for (const Choice& choice : choices) {
    if (choice.supported) return *choice.kernels;
  }
  return baseline::kernels;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace lstmjax
