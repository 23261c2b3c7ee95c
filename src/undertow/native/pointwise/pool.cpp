// Work on several threads: torch's own where they are OpenMP's, else a few of ours.
//
// Two pools on the same cores fight: OpenMP's threads spin for a while after each of torch's operations.  torch makes
// libgomp's symbols global, so its pool is found by name, without linking to anything.

#include "kernels.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace undertow {
namespace {

struct Job {
    void (*body)(void *, std::size_t, std::size_t);
    void *data;
    std::size_t n, piece;
    std::atomic<std::size_t> next{0};

    void run() {  // pieces go to whoever is free
        for (std::size_t begin; (begin = next.fetch_add(piece, std::memory_order_relaxed)) < n;)
            body(data, begin, std::min(n, begin + piece));
    }
};
void run_job(void *job) { static_cast<Job *>(job)->run(); }

using Fork = void (*)(void (*)(void *), void *, unsigned threads, unsigned flags);

Fork openmp() {
#if defined(__unix__) || defined(__APPLE__)
    static const Fork fork = reinterpret_cast<Fork>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    return fork;
#else
    return nullptr;
#endif
}

// Threads that sleep between jobs.  Never destroyed: they may outlive the module.
class Pool {
  public:
    void run(Job &job, int threads) {
        const std::lock_guard<std::mutex> one_job(busy_);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (; size_ < threads - 1; ++size_) std::thread([this, id = size_] { wait(id); }).detach();
            job_ = &job;
            wanted_ = running_ = threads - 1;
            ++round_;
        }
        start_.notify_all();
        job.run();
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return running_ == 0; });
        job_ = nullptr;
    }

  private:
    void wait(int id) {
        std::unique_lock<std::mutex> lock(mutex_);
        for (unsigned long seen = 0;;) {
            start_.wait(lock, [&] { return job_ != nullptr && seen != round_; });
            seen = round_;
            if (id >= wanted_) continue;
            Job &job = *job_;
            lock.unlock();
            job.run();
            lock.lock();
            if (--running_ == 0) done_.notify_one();
        }
    }

    std::mutex busy_, mutex_;
    std::condition_variable start_, done_;
    Job *job_ = nullptr;
    int size_ = 0, wanted_ = 0, running_ = 0;
    unsigned long round_ = 0;
};

std::atomic<bool> forked{false};  // a forked child has this thread only, whatever the pools believe

void watch_forks() {
#if defined(__unix__) || defined(__APPLE__)
    static const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });
    (void)registered;
#endif
}

}  // namespace

void parallel(std::size_t n, std::size_t grain, int threads, void (*body)(void *, std::size_t, std::size_t),
              void *data) {
    const std::size_t pieces = n / grain;
    threads = static_cast<int>(std::min<std::size_t>(pieces, static_cast<std::size_t>(std::max(threads, 1))));
    watch_forks();
    if (threads <= 1 || forked) return body(data, 0, n);
    // Four pieces a thread even out what else the machine does; fewer where they would be small.
    const std::size_t shares = static_cast<std::size_t>(threads) * (pieces >= 16 * static_cast<std::size_t>(threads) ? 4 : 1);
    const std::size_t piece = (n + shares - 1) / shares;
    Job job{body, data, n, (piece + 1023) / 1024 * 1024};
    if (const Fork fork = openmp()) {
        fork(run_job, &job, static_cast<unsigned>(threads), 0);
    } else {
        static Pool &pool = *new Pool;
        pool.run(job, threads);
    }
}

}  // namespace undertow
