// Sessions on a replica begin with the values that they would begin with on the primary:
// replica_settings.md.
#pragma once

#include "proxy/io/signal.hpp"
#include "proxy/pool/connector.hpp"
#include "proxy/pool/replica_settings.hpp"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pgsteer::proxy {

// Worker-local. What it opens is no part of the pool yet.
class Alike {
public:
    Alike(PoolEnvironment& environment,
          Connector& connector,
          Connections& connections,
          const Retirement& retirement)
        : env_{environment},
          connector_{connector},
          connections_{connections},
          retirement_{retirement},
          primary_asked_{environment.executor} {}

    // A checked connection (Connector::open): one to the primary, of which is learnt how sessions
    // of its kind begin, or one to a replica that is as one to the primary would be, as far as the
    // replica lets this user have it so.
    awaitable<ConnectResult> open(PoolTarget target);
    // Asks the primary for what sessions start with there, where it may have changed.
    awaitable<void> look_again();

private:
    awaitable<ConnectResult> open_primary(PoolTarget target);
    awaitable<ConnectResult> open_replica(PoolTarget target);
    awaitable<ReplicaSettings::Start> start_on_primary(SessionKind kind, SettingSet wanted);
    awaitable<std::optional<SettingValues>> ask_primary(SessionKind kind);
    awaitable<std::optional<SettingValues>> values_on_primary(SessionKind kind,
                                                              routing::ServerId server);
    awaitable<SettingSet> try_settings(ServerConnectionPtr connection,
                                       SettingValues values,
                                       SettingSet chosen);
    [[nodiscard]] std::string unknown_columns(const PoolTarget& target) const;
    void learn_start(const PoolTarget& target, const ServerState& seen, std::uint64_t generation);
    void tell_differences(const std::vector<health::SettingDifference>& news);

    PoolEnvironment& env_;
    Connector& connector_;
    Connections& connections_;
    const Retirement& retirement_;
    std::set<SessionKind> asking_primary_;  // one of us does
    Signal primary_asked_;
    routing::TimePoint ask_primary_at_ = routing::kNever;  // not before: it did not answer
};

}  // namespace pgsteer::proxy
