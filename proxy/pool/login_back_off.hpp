// Logins that servers refuse, and when each of them may be tried again.
#pragma once

#include "health/metrics.hpp"
#include "proxy/shared/budget.hpp"
#include "routing/topology.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {

// One for all workers. Thread-safe; the clock is passed in. A login that was refused counts as
// refused until it has been accepted and not been refused again for kSettled: what comes and goes
// (a limit of connections) is one change of state.
class LoginBackOff {
public:
    static constexpr std::chrono::milliseconds kFirstDelay{200};
    static constexpr std::chrono::milliseconds kLastDelay{10'000};
    static constexpr std::chrono::seconds kSettled{5};
    static constexpr std::chrono::minutes kForgotten{10};  // nobody has wanted it for so long
    static constexpr std::size_t kMaxLogins = 1024;        // then the one wanted longest ago goes
    static constexpr std::size_t kMaxErrorBytes = 200;

    enum class Advice : std::uint8_t {
        try_it,   // nothing speaks against it
        refused,  // it would be in vain
        due,  // the same for whoever asks; but it is time to look again, and the caller is to do it
    };
    [[nodiscard]] Advice advise(const BudgetKey& login, routing::TimePoint now);

    // True: that is news. `sqlstate` is empty where no server has said why.
    bool refused(const BudgetKey& login,
                 std::string_view sqlstate,
                 std::string_view error,
                 routing::TimePoint now);
    void accepted(const BudgetKey& login, routing::TimePoint now);
    // Those that count as accepted from now on. Forgets what is over.
    std::vector<BudgetKey> settle(routing::TimePoint now);
    void try_all_again();  // servers have changed

    // Each says whether any server has ever let its user into its database.
    [[nodiscard]] std::vector<health::RefusedLogin> report(routing::TimePoint now) const;

private:
    struct State {
        routing::TimePoint since;
        routing::TimePoint next_try;
        routing::TimePoint wanted_at;
        routing::TimePoint accepted_at = routing::kNever;
        std::chrono::milliseconds delay{};
        std::uint64_t refusals = 0;
        std::string sqlstate;
        std::string error;
        [[nodiscard]] bool is_accepted() const { return accepted_at != routing::kNever; }
    };
    void make_room();

    std::atomic<std::size_t> count_{0};  // of logins_: none is what is usual
    mutable std::mutex mutex_;
    std::map<BudgetKey, State> logins_;
    std::set<std::pair<std::string, std::string>>
        known_;  // database, user: accepted somewhere; bounded
};

}  // namespace pgsteer::proxy
