#pragma once

#include <atomic>

namespace pgsteer::proxy {

// Clients that were accepted and have not gone yet, over all workers. Thread-safe.
class ClientCount {
public:
    void came() { ++count_; }  // the listener, before it hands the socket out
    void gone() { --count_; }  // once for each
    [[nodiscard]] int get() const { return count_.load(); }
    // With whoever asks among them.
    [[nodiscard]] bool is_above(int limit) const { return get() > limit; }

private:
    std::atomic<int> count_{0};
};

}  // namespace pgsteer::proxy
