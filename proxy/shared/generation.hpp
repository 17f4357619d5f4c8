// One loaded configuration, with what follows from it.
#pragma once

#include "conf/config.hpp"
#include "health/server_table.hpp"
#include "proxy/auth/credentials.hpp"
#include "proxy/login/user_source.hpp"
#include "proxy/shared/budget.hpp"

#include <cstdint>
#include <memory>
#include <mutex>

namespace pgsteer::proxy {

// Immutable; what it points to is thread-safe. A session holds the one that was current when its
// client was accepted, to its end, and asks no other: what it was promised (its level, its limits,
// how its database is called, who it may log in as) does not change under it. So several live side
// by side, and one ends with its last session.
//
// Of a generation:
//   config       every key; `servers` is for the table alone
//   servers      which there are; a session that names one that was added since, or was removed,
//                asks Surroundings::servers(), the table of the current generation
//   credentials  users and their keys: a user that was removed is served until his session ends
// Of the process, and the same in all generations:
//   ServerId     a server keeps its number (health/server_table.hpp)
//   budgets      they count what servers have, whoever opened it; the limit is the current one
// Of the process, and in no generation, because it tells of servers and not of wishes: topology,
// evidence, catalogs, learnt positions, shared writes, crashes, refused logins, differences of
// settings, counters. Of a worker: its pool. A connection is opened with the credentials of the
// session that wants it, and can be given to a session of any other generation: it is alike if
// server, database, user and startup settings are. How long it is kept is what the current
// generation says.
//
// What a reload has to do beside that: a Checker and Catalogs of the new table, which publish to
// the same TopologyStore (versions go on) and hear the same Evidence; Sources of the metrics; and
// Worker::adopt on each worker. Connections to servers that were removed are then those to servers
// that are no replica and no primary (Topology): nothing new goes there, Pool::close_idle_to closes
// the idle ones.
struct Generation {
    std::uint64_t number = 0;  // grows by one
    std::shared_ptr<const conf::Config> config;
    health::ServerTable servers;
    std::shared_ptr<auth::Credentials> credentials;
    std::shared_ptr<UserSource> users;  // of these credentials; any thread
    std::shared_ptr<Budgets> budgets;
};
using GenerationPtr = std::shared_ptr<const Generation>;

// Makes generations, and knows the current one. One for the process; thread-safe.
class Generations {
public:
    // Of the first configuration; it is current. At most ServerIds::kMost servers (conf::validate).
    explicit Generations(std::shared_ptr<const conf::Config> config);

    // The one that would follow the current one; nobody has it yet. Null: the process cannot know
    // so many servers (ServerIds); then nothing has changed.
    GenerationPtr prepare(std::shared_ptr<const conf::Config> config);
    // It is current from now on: for whoever asks here, and as the limit of the budgets. Workers
    // are told by a message.
    void publish(GenerationPtr generation);
    [[nodiscard]] GenerationPtr current() const;

private:
    health::ServerIds ids_;
    mutable std::mutex mutex_;
    GenerationPtr current_;
};

}  // namespace pgsteer::proxy
