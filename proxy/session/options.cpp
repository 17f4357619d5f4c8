#include "proxy/session/options.hpp"

#include "routing/startup_options.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pgsteer::proxy {

using routing::Consistency;
using routing::Effect;
using namespace std::chrono_literals;

namespace {

constexpr auto kStrictPatience = 50ms;  // the least that a strict read waits, which always has to

// Sets it in `options`; "" = well done, or not an option of ours.
std::string set(std::string_view name, std::string_view value, routing::ReadOptions& options) {
    using Outcome = routing::ReadOptions::Outcome;
    if (!name.starts_with(routing::kOptionPrefix)) return {};
    switch (options.set(name.substr(routing::kOptionPrefix.size()), value)) {
        case Outcome::done:
            return {};
        case Outcome::unknown_name:
            return fmt::format("unrecognized configuration parameter \"{}\"", name);
        case Outcome::bad_value:
            return fmt::format("invalid value for parameter \"{}\": \"{}\"", name, value);
        case Outcome::read_only:
            return fmt::format("parameter \"{}\" cannot be changed", name);
    }
    return {};
}

}  // namespace

Consistency Options::level_of(conf::Consistency level) {
    switch (level) {
        case conf::Consistency::eventual:
            return Consistency::eventual;
        case conf::Consistency::session:
            return Consistency::session;
        case conf::Consistency::global:
            return Consistency::global;
        case conf::Consistency::strict:
            return Consistency::strict;
    }
    return Consistency::strict;
}

std::string Options::start() {
    const auto& config = lodging_.config();
    const auto& who = who_.identity;
    auto level = config.routing.consistency;
    for (const auto& database : config.databases) {
        if (database.name != who.database && database.name != "*") continue;
        level = database.consistency.value_or(level);
        break;
    }
    for (const auto& user : config.auth.users)
        if (user.name == who.user) level = user.consistency.value_or(level);
    memory_.freshness.start_with(level_of(level));

    routing::ReadOptions options;
    routing::TransactionModes modes;
    for (const auto& [name, value] : routing::startup_settings(who.parameters)) {
        if (name == "default_transaction_isolation")
            modes.isolation = routing::parse_isolation(value);
        if (name == "default_transaction_read_only") modes.read_only = routing::parse_bool(value);
        auto problem = set(name, value, options);
        if (!problem.empty()) return problem;
    }
    memory_.state.start_with(options);
    memory_.state.start_with(modes);
    return {};
}

std::string Options::problem_of(const Batch& batch) const {
    if (memory_.state.transaction_on()) return {};
    routing::ReadOptions options;
    for (const auto& item : batch.items) {
        if (!item.statement) continue;
        for (const auto& effect : item.statement->statement.effects) {
            if (effect.kind != Effect::Kind::set) continue;
            auto problem = set(effect.name, effect.value, options);
            if (!problem.empty()) return problem;
        }
    }
    return {};
}

routing::ReadOptions Options::of(const routing::Statement& statement) const {
    const auto& session = memory_.state.read_options();
    const auto* of_transaction = memory_.transaction.options();
    if (of_transaction == nullptr) return session.overlaid_by(statement.options);
    return session.overlaid_by(*of_transaction).overlaid_by(statement.options);
}

routing::TimePoint Options::wait_until(const routing::Statement& statement,
                                       routing::TimePoint arrived) const {
    if (arrived == routing::kNever || memory_.transaction.has_to_stay()) return routing::kNever;
    const auto options = of(statement);
    std::chrono::milliseconds patience =
        options.freshness_wait.value_or(lodging_.config().routing.freshness_wait);
    if (memory_.freshness.level(options) == Consistency::strict)
        patience = std::max<std::chrono::milliseconds>(patience, kStrictPatience);
    return patience.count() == 0 ? routing::kNever : arrived + patience;
}

routing::DefaultModes Options::default_modes() const {
    const auto& said = memory_.state.default_modes();
    routing::DefaultModes defaults{memory_.catalog.default_modes(), said.isolation.has_value()};
    defaults.modes.overlay(said);
    return defaults;
}

}  // namespace pgsteer::proxy
