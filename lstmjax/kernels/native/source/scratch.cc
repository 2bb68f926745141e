#include "scratch.h"

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lstmjax {

namespace {

constexpr std::size_t large_page = std::size_t{2} << 20;
constexpr std::size_t smallest = std::size_t{64} << 10;
constexpr std::size_t most_kept = std::size_t{256} << 20;

struct Block {
  std::size_t bytes;
  void* data;
};

// Blocks that no call is using.
struct Store {
  std::mutex mutex;
  std::vector<Block> blocks;
  std::size_t kept = 0;
};

Store& store() {
  static Store* const only = new Store;  // never destroyed: threads of a pool may outlive the end of main
  return *only;
}

// Eight sizes for each power of two, so that a block can serve calls of nearly its size.
std::size_t rounded(std::size_t bytes) {
  std::size_t step = smallest / 8;
  while (step * 16 < bytes) step *= 2;
  const std::size_t least = bytes < smallest ? smallest : bytes;
  return (least + step - 1) / step * step;
}

void* take_kept(std::size_t bytes) {
  Store& all = store();
  const std::lock_guard<std::mutex> lock(all.mutex);
  for (std::size_t i = all.blocks.size(); i-- > 0;) {
    if (all.blocks[i].bytes != bytes) continue;
    void* const data = all.blocks[i].data;
    all.blocks.erase(all.blocks.begin() + static_cast<std::ptrdiff_t>(i));
    all.kept -= bytes;
    return data;
  }
  return nullptr;
}

}  // namespace

void expect_writes(void* data, std::size_t bytes) {
#if defined(__linux__)
  const auto from = (reinterpret_cast<std::uintptr_t>(data) + large_page - 1) / large_page * large_page;
  const auto to = (reinterpret_cast<std::uintptr_t>(data) + bytes) / large_page * large_page;
  if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);  // a hint: it may fail
#else
  (void)data, (void)bytes;
#endif
}

Scratch::Scratch(std::size_t bytes) : bytes_(rounded(bytes)), data_(take_kept(bytes_)) {
  if (data_ != nullptr) return;
  const std::size_t alignment = bytes_ >= large_page ? large_page : 64;
  data_ = std::aligned_alloc(alignment, (bytes_ + alignment - 1) / alignment * alignment);
  if (data_ == nullptr) throw std::bad_alloc();
  if (bytes_ >= large_page) expect_writes(data_, bytes_);
}

Scratch::~Scratch() {
  Store& all = store();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.blocks.push_back({bytes_, data_});
  all.kept += bytes_;
  while (all.kept > most_kept) {  // the oldest goes
    all.kept -= all.blocks.front().bytes;
    std::free(all.blocks.front().data);
    all.blocks.erase(all.blocks.begin());
  }
}

}  // namespace lstmjax
