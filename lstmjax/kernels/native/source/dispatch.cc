// Which instruction set's code runs.
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

#if defined(__x86_64__)
// What the processor has and the system keeps for each thread. The compiler's own __builtin_cpu_supports is always
// false where Zig links.
struct Processor {
  bool avx2 = false, avx512 = false;

  Processor() {
    unsigned a, b, c, d, kept, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
    const bool fma = c & bit_FMA;
    asm volatile("xgetbv" : "=a"(kept), "=d"(unused) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    avx2 = fma && (b & bit_AVX2) && (kept & 0x06) == 0x06;         // xmm and ymm
    avx512 = avx2 && (b & wide) == wide && (kept & 0xe6) == 0xe6;  // and masks and zmm
  }
};
#endif

struct Choice {
  const Kernels* kernels;
  bool supported;
};

// The widest that is supported; LSTMJAX_NATIVE_ISA names another one that is.
const Kernels& choose() {
#if defined(__x86_64__)
  const Processor processor;
#endif
  const Choice choices[] = {
#if defined(__x86_64__)
      {&avx512::kernels, processor.avx512},
      {&avx2::kernels, processor.avx2},
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
