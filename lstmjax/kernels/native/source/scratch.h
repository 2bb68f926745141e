// Memory for the length of a call. It is kept for the next one: pages fresh from the system cost more than the work on
// them.
#pragma once
#include <cstddef>

namespace lstmjax {

// A block of at least `bytes`, aligned to a cache line, its contents undefined.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  std::size_t bytes_;
  void* data_;
};

// Asks for large pages where `data` is about to be written for the first time.
void expect_writes(void* data, std::size_t bytes);

}  // namespace lstmjax
