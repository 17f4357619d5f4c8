#include "proxy/session/transaction_end.hpp"

#include "proxy/pool/reviewed_settings.hpp"
#include "proxy/wire/backend.hpp"

#include <utility>

namespace pgsteer::proxy {

using routing::Slot;

void TransactionEnd::act() {
    if (std::exchange(changes_logins_, false)) lodging_.around.logins_change();
    if (!outdates_replica_) return;
    if (course_.requests.size() > 1 || memory_.state.irreplaceable(Slot::replica)) return;
    outdates_replica_ = false;
    if (const auto& lease = sides_[Slot::replica].lease) {
        lease->origin.incarnation = kOutdated;
        replica_was_outdated_ = true;
    }
}

void TransactionEnd::session_ends() {
    if (std::exchange(changes_logins_, false)) lodging_.around.logins_change();
    outdates_replica_ = false;
}

void TransactionEnd::outdate_replica(routing::ServerId server) {
    const auto& lease = sides_[Slot::replica].lease;
    if (lease && lease->server == server) outdate();
}

void TransactionEnd::outdate_replica(const SessionKind& kind) {
    const auto& lease = sides_[Slot::replica].lease;
    const auto& who = who_.identity;
    if (lease && kind.user == who.user && kind.database == who.server_database) outdate();
}

// What has begun there ends there.
void TransactionEnd::outdate() {
    outdates_replica_ = true;
    if (course_.requests.empty()) act();
}

void TransactionEnd::replica_connected(const ServerConnection& replica) {
    if (std::exchange(replica_was_outdated_, false)) tell_new_values(replica);
}

void TransactionEnd::tell_new_values(const ServerConnection& replica) {
    wire::Buffer out;
    for (const auto name : kReviewedSettings) {
        const auto* reported = replica.parameters.find(name);
        if (reported == nullptr || memory_.state.has_set(name)) continue;
        if (who_.shown.changed(name, *reported))
            wire::encode_parameter_status(out, name, *reported);
    }
    if (!out.empty()) client_.stream.write(wire::Bytes{out});
}

}  // namespace pgsteer::proxy
