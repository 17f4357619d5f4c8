// What waits for the end of the session's transaction.
#pragma once

#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// What a statement has done to logins counts once it has committed; a replica connection whose
// settings are no longer the primary's is left when nothing of the session depends on it.
// Worker-local.
class TransactionEnd {
public:
    TransactionEnd(const Lodging& lodging,
                   Client& client,
                   Who& who,
                   Course& course,
                   Memory& memory,
                   Sides& sides)
        : lodging_{lodging},
          client_{client},
          who_{who},
          course_{course},
          memory_{memory},
          sides_{sides} {}
    TransactionEnd(const TransactionEnd&) = delete;
    TransactionEnd& operator=(const TransactionEnd&) = delete;

    // To be called when ReadyForQuery has said that no transaction is open.
    void has_ended() {
        if (changes_logins_ || outdates_replica_) act();
    }
    // The session is over: a transaction that was open may have committed all the same.
    void session_ends();

    // A statement that changes logins has completed.
    void changes_logins() { changes_logins_ = true; }
    // The replica connection, if it is one to this server, or of this kind of session, answers by
    // settings that are no longer those of the primary. It gets nothing new once nothing is in
    // flight there and nothing of the session depends on it.
    void outdate_replica(routing::ServerId server);
    void outdate_replica(const SessionKind& kind);
    // There is a new replica connection. If it takes the place of one that was outdated the client
    // is told the new values, as the primary would with its next answer.
    void replica_connected(const ServerConnection& replica);

private:
    void act();
    void outdate();
    void tell_new_values(const ServerConnection& replica);

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;

    bool changes_logins_ = false;
    bool outdates_replica_ = false;
    bool replica_was_outdated_ = false;
};

}  // namespace pgsteer::proxy
