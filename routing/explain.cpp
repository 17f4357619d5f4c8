#include "routing/explain.hpp"

#include "routing/canonical.hpp"
#include "routing/classify.hpp"
#include "routing/decide.hpp"
#include "routing/lexer.hpp"

#include <fmt/format.h>

namespace pgsteer::routing {
namespace {

std::string_view name(Access access) {
    switch (access) {
        case Access::read_only:
            return "read_only";
        case Access::begin_read_only:
            return "begin_read_only";
        case Access::begin:
            return "begin";
        case Access::session_control:
            return "session_control";
        case Access::write:
            return "write";
    }
    return "?";
}

constexpr ServerId kPrimary{0};
constexpr ServerId kReplica{1};

// A primary, and a replica that lacks nothing.
Topology two_servers(TimePoint now) {
    Topology topology;
    for (const auto role : {Role::primary, Role::replica}) {
        auto& server = topology.servers.emplace_back();
        server.role = role;
        server.status = Status::healthy;
        server.incarnation.number = 1;
        server.fresh_as_of = server.checked_at = now;
    }
    topology.primary = kPrimary;
    return topology;
}

// As a session says it that has done nothing yet: by the rules that workers decide by.
std::string_view runs_on(const Statement& statement) {
    const auto now = Clock::now();
    const auto topology = two_servers(now);
    const auto where = [&](ServerId last_used, bool is_lazy) {
        SessionView session;
        session.last_used = last_used;
        session.transaction.may_start_on_replica = is_lazy;
        return decide(statement, session, topology, now);
    };
    const auto route = where(kPrimary, false);
    if (route.to_replica != where(kReplica, false).to_replica)
        return "the server that the session used last";
    if (route.to_replica != where(kPrimary, true).to_replica)
        return statement.access == Access::begin_read_only
                   ? "a replica, until the transaction ends"
                   : "the primary; with transactions: lazy where its first statement shows";
    if (route.reason == Reason::hint_primary) return "the primary (by its hint)";
    if (!route.to_replica) return "the primary";
    return route.reason == Reason::hint_replica && statement.access == Access::write
               ? "a replica (by its hint), read-only; the primary if that fails"
               : "a replica that is fresh enough, else the primary";
}

std::string_view name(Hint hint) {
    switch (hint) {
        case Hint::none:
            return "none";
        case Hint::primary:
            return "primary";
        case Hint::replica:
            return "replica";
    }
    return "?";
}

std::string_view name(Effect::Kind kind) {
    using Kind = Effect::Kind;
    switch (kind) {
        case Kind::begin:
            return "begin";
        case Kind::commit:
            return "commit";
        case Kind::rollback:
            return "rollback";
        case Kind::savepoint:
            return "savepoint";
        case Kind::release:
            return "release";
        case Kind::rollback_to:
            return "rollback_to";
        case Kind::set:
            return "set";
        case Kind::set_local:
            return "set_local";
        case Kind::set_transaction:
            return "set_transaction";
        case Kind::set_on_primary:
            return "set_on_primary";
        case Kind::reset:
            return "reset";
        case Kind::reset_all:
            return "reset_all";
        case Kind::opaque_settings:
            return "opaque_settings";
        case Kind::backend_state:
            return "backend_state";
        case Kind::prepare:
            return "prepare";
        case Kind::deallocate:
            return "deallocate";
        case Kind::deallocate_all:
            return "deallocate_all";
        case Kind::discard_all:
            return "discard_all";
        case Kind::create_temporary:
            return "create_temporary";
        case Kind::discard_temporary:
            return "discard_temporary";
        case Kind::declare_hold:
            return "declare_hold";
        case Kind::close:
            return "close";
        case Kind::close_all:
            return "close_all";
        case Kind::listen:
            return "listen";
        case Kind::unlisten:
            return "unlisten";
        case Kind::unlisten_all:
            return "unlisten_all";
        case Kind::notify:
            return "notify";
        case Kind::lock:
            return "lock";
        case Kind::unlock_all:
            return "unlock_all";
        case Kind::empties_database:
            return "empties_database";
        case Kind::changes_logins:
            return "changes_logins";
    }
    return "?";
}

std::string_view name(Effect::Form form) {
    switch (form) {
        case Effect::Form::start:
            return " start";
        case Effect::Form::chain:
            return " chain";
        case Effect::Form::prepare:
            return " prepare";
        case Effect::Form::plain:
        case Effect::Form::modes:  // its name says so
            break;
    }
    return "";
}

std::string effects_of(const Statement& statement) {
    std::string lines;
    for (const Effect& effect : statement.effects) {
        lines += fmt::format("effect:     {}{}", name(effect.kind), name(effect.form));
        if (!effect.name.empty()) lines += fmt::format(" {}", effect.name);
        if (!effect.sql.empty()) lines += fmt::format(" (repeated elsewhere: {})", effect.sql);
        if (statement.statement_count > 1)
            lines += fmt::format(" in statement {}", effect.statement_index + 1);
        lines += '\n';
    }
    return lines;
}

}  // namespace

std::string explain_text(std::string_view sql, const CatalogView* view) {
    Statement statement = classify(sql);
    const bool wants_catalog =
        view == nullptr && statement.may_read() && statement.access == Access::write;
    if (view != nullptr) {
        Verdict judged = verdict(statement, *view);
        statement.access = judged.access;
        statement.reason = judged.reason;
        statement.detail = std::move(judged.detail);
    }
    const StatementKey key = lex(sql, HashSecret{}).key;
    std::string text = fmt::format("access:     {}\nreason:     {}\n", name(statement.access),
                                   routing::name(statement.reason));
    if (!statement.detail.empty()) text += fmt::format("because of: {}\n", statement.detail);
    text += fmt::format("runs on:    {}\n", runs_on(statement));
    if (wants_catalog)
        text += "but:        the database's catalog may say otherwise (--database)\n";
    if (statement.hint != Hint::none) text += fmt::format("hint:       {}\n", name(statement.hint));
    text += fmt::format("statements: {}\n", statement.statement_count);
    text += effects_of(statement);
    text += fmt::format("cached as:  {}\n", canonical(sql).text);
    text += fmt::format("key:        {:016x}{:016x}\n", key.high, key.low);
    return text;
}

}  // namespace pgsteer::routing
