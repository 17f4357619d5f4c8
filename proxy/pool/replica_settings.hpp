// Where replicas are configured otherwise than the primary, and what is done about it:
// replica_settings.md.
#pragma once

#include "health/metrics.hpp"
#include "proxy/pool/reviewed_settings.hpp"
#include "routing/topology.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// One for all workers. Thread-safe; asked where connections are opened, never for a request.
class ReplicaSettings {
public:
    static constexpr std::size_t kMaxKinds = 1024;     // then another one is forgotten
    static constexpr std::size_t kMaxRemedies = 1024;  // the same

    // --- what sessions start with on the primary ---
    struct Start {
        SettingValues values;
        SettingSet known;
        bool is_current = false;  // it has not read its configuration again, or been replaced
        [[nodiscard]] bool covers(SettingSet wanted) const {
            return is_current && (wanted & ~known).none();
        }
        bool operator==(const Start&) const = default;
    };
    [[nodiscard]] Start start(const SessionKind& kind) const;
    [[nodiscard]] std::uint64_t generation() const;  // taken before a connection is opened
    // `known`: those of `values` that are the server's own. True: replica connections of this
    // database and user answer by something else.
    bool learn(const SessionKind& kind,
               const SettingValues& values,
               SettingSet known,
               std::uint64_t generation);
    // A replica connection was opened without knowing better.
    void miss(const SessionKind& kind);
    [[nodiscard]] std::vector<SessionKind> outdated() const;
    void primary_has_changed();  // its configuration, or another server is it
    void logins_have_changed();  // ALTER ROLE ... SET and the like: sessions that are there go on

    // --- what a replica needs for that ---
    struct Remedy {
        SettingSet sent;     // in the startup packet
        SettingSet refused;  // the server lets this user not set them
    };
    [[nodiscard]] Remedy remedy(routing::ServerId server, const SessionKind& kind) const;
    // Values that differ, and could be set or not. `is_settled`: the replica has replayed what was
    // set for roles, so a difference is one of configurations. Returns what is news.
    std::vector<health::SettingDifference> found(routing::ServerId server,
                                                 const SessionKind& kind,
                                                 const SettingValues& primary,
                                                 const SettingValues& replica,
                                                 Remedy remedy,
                                                 bool is_settled);
    void forget(routing::ServerId server, const SessionKind& kind);
    void forget(routing::ServerId server);  // it has read its configuration again

    // By server and setting.
    [[nodiscard]] std::vector<health::SettingDifference> report() const;

private:
    struct Known {
        Start start;
        std::uint64_t generation = 0;
    };
    struct Found {
        Remedy remedy;
        std::vector<health::SettingDifference> differences;
    };
    void forget_replicas(const SessionKind& kind);
    bool is_news(const health::SettingDifference& difference);

    mutable std::mutex mutex_;
    std::uint64_t generation_ = 1;
    std::map<SessionKind, Known> kinds_;
    std::map<std::pair<routing::ServerId, SessionKind>, Found> found_;
    // Told last, of a server, a setting and what sessions get: values of the primary and the
    // replica.
    std::map<std::pair<routing::ServerId, std::string>, std::string> told_;
};

}  // namespace pgsteer::proxy
