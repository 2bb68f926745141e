// Threads of XLA's pool, borrowed for the length of one call.
#pragma once
#include <atomic>
#include <functional>
#include <memory>

namespace lstmjax {

// Work is cut into shares in a fixed way and shares are taken by whoever is free, so that results do not depend on
// which threads come, and nothing waits for a thread that has not begun: the caller alone can do it all.
class Team {
 public:
  using Schedule = std::function<void(std::function<void()>)>;

  Team(int size, const Schedule& schedule);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // Calls work(share) for each share of `shares`, at the same time where threads are free; returns when all are done.
  template <class Work>
  void each(int shares, const Work& work) {
    run(shares, [](const void* context, int share) { (*static_cast<const Work*>(context))(share); }, &work);
  }

 private:
  struct Board;
  void run(int shares, void (*work)(const void*, int), const void* context);

  int size_;
  std::shared_ptr<Board> board_;
};

}  // namespace lstmjax
