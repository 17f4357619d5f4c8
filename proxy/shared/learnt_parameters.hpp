#pragma once

#include "proxy/shared/bounded_map.hpp"
#include "proxy/shared/parameter_map.hpp"

#include <cstddef>
#include <string>

namespace pgsteer::proxy {

// What servers report to a new session, by (database, user, startup settings): asked once, told to
// all further clients that log in like that. Bounded, the oldest goes first. Worker-local.
class LearntParameters {
public:
    static constexpr std::size_t kMostBytes = 1024 * 1024;
    explicit LearntParameters(std::size_t most_bytes = kMostBytes) : known_{most_bytes} {}

    // Null: not known (any more). Valid until the next call of another function.
    [[nodiscard]] const ReportedParameters* find(const std::string& key) const {
        return known_.find(key);
    }
    void remember(const std::string& key, const ReportedParameters& parameters);
    void forget_all() { known_.clear(); }  // servers may report something else by now

private:
    BoundedMap<ReportedParameters> known_;
};

}  // namespace pgsteer::proxy
