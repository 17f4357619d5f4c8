// The server connections of one worker: which there are, which of them are idle, when each is
// closed.
#pragma once

#include "proxy/pool/environment.hpp"
#include "proxy/pool/group.hpp"
#include "proxy/pool/lease.hpp"
#include "proxy/pool/retirement.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace pgsteer::proxy {

// Says good-bye and closes, at once. Whether or not a pool knows the connection.
void hang_up(const ServerConnectionPtr& connection);

// Worker-local. Each connection that it knows has a place in the Budget of its group. Idle ones are
// held by it: what a server says to one is not for the next client, so it is closed.
class Connections final : Exchange::Holder {
public:
    Connections(PoolEnvironment& environment, Retirement& retirement)
        : env_{environment}, retirement_{retirement} {}
    ~Connections() { is_closing_ = true; }

    using Groups = std::map<BudgetKey, std::shared_ptr<ConnectionGroup>>;
    ConnectionGroup& group_of(const BudgetKey& key);  // made if there is none
    [[nodiscard]] const Groups& groups() const { return groups_; }
    void forget_unused();  // databases are named by clients: groups without a connection
    [[nodiscard]] bool is_closing() const { return is_closing_; }

    // --- in and out ---
    // The last used one of those that will do; it is nobody's. Closes what it meets that is over.
    [[nodiscard]] ServerConnectionPtr take_idle(ConnectionGroup& group, const PoolTarget& target);
    // A new one; its place in the group's budget was taken. It is read from now on.
    void add(ConnectionGroup& group, const ServerConnectionPtr& connection);
    [[nodiscard]] LeaseResult lease_of(ServerConnectionPtr connection) {
        return {Lease{this, std::move(connection)}, {}};
    }
    // From a lease: idle when it was reset, or closed.
    void take_back(ServerConnectionPtr connection);
    // Opened for nobody who still waits, and not used by anybody yet.
    void keep_new(const ServerConnectionPtr& connection);
    void close(const ServerConnectionPtr& connection);  // again: nothing happens
    // A place in the budget came back, or was taken in vain: who waits gets his turn.
    void free_place(ConnectionGroup& group);

    // --- idle ones ---
    using Test = std::function<bool(const BudgetKey&, const ServerConnection&)>;
    void close_idle(const BudgetKey& key);
    void close_idle_where(const Test& leaves);
    void close_oldest_idle(ConnectionGroup& group);  // there is one
    void wake(const BudgetKey& key);                 // a place became free elsewhere
    // Takes those that pass out of the pool's idle ones: the caller closes them.
    [[nodiscard]] std::vector<ServerConnectionPtr> take_idle_where(const Test& leaves);
    // Until their servers have ended them: their places there are free by then. Bounded in time.
    awaitable<void> close_and_wait(std::vector<ServerConnectionPtr> connections);
    // It is too old, or was retired.
    [[nodiscard]] bool is_worn_out(const ServerConnection& connection) const;

private:
    [[nodiscard]] bool is_reusable(const ServerConnection& connection) const;
    awaitable<void> reset(ServerConnectionPtr connection);
    void keep(const ServerConnectionPtr& connection);
    static void take_idle_in(ConnectionGroup& group,
                             const Test& leaves,
                             std::vector<ServerConnectionPtr>& taken);
    void close_idle_in(ConnectionGroup& group, const Test& leaves);
    // idle_end.cpp
    void received(ServerConnection& connection) override { spoken_to(connection, false); }
    void ended(ServerConnection& connection, error_code) override { spoken_to(connection, true); }
    void spoken_to(ServerConnection& connection, bool has_ended);
    void note_end(const ServerConnection& connection, bool has_ended);

    PoolEnvironment& env_;
    const Retirement& retirement_;
    Groups groups_;
    std::map<std::uint64_t, ConnectionGroup*> group_by_connection_;  // by ServerConnection::id
    bool is_closing_ = false;
};

}  // namespace pgsteer::proxy
