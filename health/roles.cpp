#include "health/roles.hpp"

#include <algorithm>
#include <map>

namespace pgsteer::health {

using routing::Role;

namespace {

bool claims_primary(const Claim& claim) {
    return claim.is_known && claim.is_up && !claim.in_recovery;
}

Verdict judge(const Claim& claim, std::uint64_t system_identifier) {
    if (!claim.is_known) return {};
    const Role role = claim.in_recovery ? Role::replica : Role::primary;
    if (claim.system_identifier != system_identifier)
        return {Role::unknown, "wrong system identifier"};
    if (role == Role::primary && claim.configured == conf::ServerRole::replica)
        return {role, "wrong role: configured as replica, but not in recovery"};
    if (role == Role::replica && claim.configured == conf::ServerRole::primary)
        return {role, "wrong role: configured as primary, but in recovery"};
    return {role, {}};
}

}  // namespace

Roles RoleFinder::find(std::span<const Claim> claims) {
    choose_system(claims);
    Roles roles;
    std::vector<std::size_t> candidates;
    for (std::size_t i = 0; i < claims.size(); ++i) {
        const Verdict verdict = judge(claims[i], system_identifier_);
        roles.servers.push_back(verdict);
        if (!claims_primary(claims[i]) || !verdict.fault.empty()) continue;
        if (!claims[i].is_confirmed) {
            roles.servers[i].fault = "was lost: the other servers are asked before it is believed";
            roles.servers[i].is_to_be_confirmed = true;
            continue;
        }
        candidates.push_back(i);
        timeline_ = std::max(timeline_, claims[i].timeline);
    }
    std::vector<std::size_t> newest;
    for (const std::size_t i : candidates)
        if (claims[i].timeline >= timeline_)
            newest.push_back(i);
        else
            roles.servers[i].fault = "superseded: there is a primary on a later timeline";
    roles.is_split = newest.size() > 1;
    if (newest.size() == 1) roles.primary = newest.front();
    if (roles.is_split)
        for (const std::size_t i : newest)
            roles.servers[i].fault = "several servers claim to be primary on one timeline";
    // What a server claimed that is gone is nobody's role, and "primary" is one server's.
    for (std::size_t i = 0; i < claims.size(); ++i) {
        const bool is_another = roles.primary && *roles.primary != i;
        if (!claims[i].is_up || (is_another && roles.servers[i].role == Role::primary))
            roles.servers[i].role = Role::unknown;
    }
    return roles;
}

// The cluster is that of the configured primary, else that of a primary, else what most servers
// say. Once all have spoken it stays, as long as the last word of any of them was of it: an outage
// of our servers must not hand the writes to a stranger.
void RoleFinder::choose_system(std::span<const Claim> claims) {
    const auto belongs = [this](const Claim& claim) {
        return claim.is_known && claim.system_identifier == system_identifier_;
    };
    if (std::ranges::all_of(claims, &Claim::is_known) && std::ranges::any_of(claims, belongs))
        return;
    std::map<std::uint64_t, int> votes;
    for (const Claim& claim : claims) {
        if (!claim.is_known) continue;
        int weight = 1;
        if (!claim.in_recovery) weight += 100;
        if (claim.configured == conf::ServerRole::primary) weight += 10'000;
        votes[claim.system_identifier] += weight;
    }
    if (votes.empty()) return;
    const auto best =
        std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
    const auto ours = votes.find(system_identifier_);
    if (ours != votes.end() && ours->second >= best->second) return;
    system_identifier_ = best->first;
    timeline_ = 0;
}

}  // namespace pgsteer::health
