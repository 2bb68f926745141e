#include "team.h"

#include <cstdint>
#include <thread>

#include "flush.h"

namespace lstmjax {

namespace {

constexpr int spins_before_yielding = 2000;

// Threads at work in all calls of this process. XLA runs calls side by side that do not need each other: each then gets
// fewer threads, for more of them than there are cores would wait for each other.
std::atomic<int> at_work{0};

void pause_briefly(int& spins) {
  if (++spins >= spins_before_yielding) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

// What caller and helpers share. `ticket` holds the number of the job and, in its low half, the next share of it: a
// helper that comes late takes a share of the job that is current, or none.
struct alignas(64) Team::Board {
  std::atomic<uint64_t> ticket{0};
  std::atomic<int> shares{0};
  std::atomic<void (*)(const void*, int)> work{nullptr};
  std::atomic<const void*> context{nullptr};
  std::thread::id caller = std::this_thread::get_id();
  int threads = 1;
  alignas(64) std::atomic<int> done{0};
  std::atomic<bool> closed{false};

  // Takes and does one share of the current job; false where none is left. The job's fields do not change while a share
  // of it is taken and not done.
  bool do_one() {
    uint64_t seen = ticket.load(std::memory_order_acquire);
    while (true) {
      const int share = static_cast<int>(seen & 0xffffffff);
      if (share >= shares.load(std::memory_order_acquire)) return false;
      const auto job = work.load(std::memory_order_acquire);
      const void* about = context.load(std::memory_order_acquire);
      if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
      job(about, share);
      done.fetch_add(1, std::memory_order_release);
      return true;
    }
  }

  void help() {
    if (std::this_thread::get_id() == caller) return;  // a pool that has stopped runs what it is given on the spot
    if (at_work.fetch_add(1) < threads) take_shares();
    at_work.fetch_sub(1);
  }

  void take_shares() {
    const FlushSubnormals flush;
    int spins = 0;
    while (!closed.load(std::memory_order_acquire)) {
      if (do_one()) {
        spins = 0;
      } else {
        pause_briefly(spins);
      }
    }
  }
};

Team::Team(int size, const Schedule& schedule) : size_(size), board_(std::make_shared<Board>()) {
  board_->threads = size;
  for (int i = at_work.fetch_add(1) + 1; i < size; ++i) schedule([board = board_] { board->help(); });
}

Team::~Team() {
  board_->closed.store(true, std::memory_order_release);
  at_work.fetch_sub(1);
}

void Team::run(int shares, void (*work)(const void*, int), const void* context) {
  if (size_ == 1 || shares == 1) {
    for (int i = 0; i < shares; ++i) work(context, i);
    return;
  }
  Board& board = *board_;
  board.shares.store(0, std::memory_order_release);  // nobody takes a share while the job is being changed
  const uint64_t job = (board.ticket.load(std::memory_order_relaxed) >> 32) + 1;
  board.done.store(0, std::memory_order_relaxed);
  board.work.store(work, std::memory_order_relaxed);
  board.context.store(context, std::memory_order_relaxed);
  board.ticket.store(job << 32, std::memory_order_release);
  board.shares.store(shares, std::memory_order_release);
  while (board.do_one()) {
  }
  int spins = 0;
  while (board.done.load(std::memory_order_acquire) < shares) pause_briefly(spins);
}

}  // namespace lstmjax
