// Crashes of server processes: which server had one when, and which statements were the cause.
#pragma once

#include "routing/lexer.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <mutex>
#include <vector>

namespace pgsteer::proxy {

// Thread-safe. A statement that ends its server process takes down all sessions of that server: it
// must not be carried from server to server.
class Crashes {
public:
    static constexpr std::chrono::minutes kRemembered{1};
    static constexpr int kTolerated = 1;  // crashes of one statement within that time

    explicit Crashes(std::size_t servers);

    // Somebody was told of a crash: by 57P02, or by a server that came back from one.
    void noticed(routing::ServerId server, routing::TimePoint now);
    [[nodiscard]] bool has_crashed_since(routing::ServerId server, routing::TimePoint then) const;

    // The statement with this key has crashed its server process. Returns how often it has done so
    // within kRemembered. At most kMaxStatements are remembered, the latest. Texts without a key
    // of their own are not.
    int crashed(const routing::StatementKey& statement, routing::TimePoint now);
    // It has done so more often than is tolerated. One atomic read while no statement has.
    [[nodiscard]] bool is_refused(const routing::StatementKey& statement,
                                  routing::TimePoint now) const {
        return refused_.load(std::memory_order_relaxed) && is_listed(statement, now);
    }

private:
    static constexpr std::size_t kMaxStatements = 64;
    struct Culprit {
        routing::StatementKey statement;
        int crashes = 0;
        routing::TimePoint last{};
    };
    [[nodiscard]] bool is_listed(const routing::StatementKey& statement,
                                 routing::TimePoint now) const;

    std::vector<std::atomic<routing::TimePoint::rep>> noticed_at_;  // by ServerId
    std::atomic<bool> refused_{false};  // some statement is, or was until a moment ago
    mutable std::mutex mutex_;
    std::vector<Culprit> culprits_;  // the oldest first
};

}  // namespace pgsteer::proxy
