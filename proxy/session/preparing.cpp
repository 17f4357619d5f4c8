#include "proxy/session/preparing.hpp"

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace {

// Names a statement and a portal of ours for the length of five messages.
constexpr std::string_view kOurs = "pgsteer.prepare";

std::size_t at(const Destination& to) { return static_cast<std::size_t>(to.slot); }

void expect(const Destination& to, Expect what, PreparedPtr prepared = nullptr) {
    to.replies.push({.what = what,
                     .internal = true,
                     .purpose = Purpose::prepare,
                     .prepared = std::move(prepared)});
}

void close(const Destination& to, std::uint8_t kind, std::string_view name, wire::Buffer& out) {
    wire::encode_close(out, kind, name);
    expect(to, Expect::close);
}

// The text of a Query.
std::string_view sql_of(wire::Bytes query) {
    return wire::as_text(query.subspan(wire::kHeaderBytes, query.size() - wire::kHeaderBytes - 1));
}

// PREPARE by the extended protocol: a Query would end what the client has open.
void run(const PreparedPtr& statement, const Destination& to, wire::Buffer& out) {
    wire::encode_parse(out, kOurs, sql_of(statement->definition), {});
    expect(to, Expect::parse);
    wire::encode_bind(out, kOurs, kOurs);
    expect(to, Expect::bind);
    wire::encode_execute(out, kOurs);
    expect(to, Expect::execute, statement);
    close(to, 'P', kOurs, out);
    close(to, 'S', kOurs, out);
}

}  // namespace

void note_prepared(PreparedStatement& statement, const Destination& to) {
    statement.prepared_on[at(to)] = to.lease_number;
    statement.queries_before[at(to)] = to.replies.queries();
}

bool Preparing::is_there(const PreparedPtr& statement, const Destination& to) const {
    if (statement->prepared_on[at(to)] == to.lease_number &&
        (!statement->name.empty() || statement->queries_before[at(to)] == to.replies.queries()))
        return true;
    return std::any_of(sent_.begin(), sent_.end(), [&](const auto& sent) {
        return sent.first == statement && sent.second == to.lease_number;
    });
}

void Preparing::statement(const PreparedPtr& statement, const Destination& to, wire::Buffer& out) {
    if (is_there(statement, to) || statement->definition.empty() || to.replies.skipping()) return;
    // What is left of another one of this name makes no difference.
    if (!statement->name.empty()) close(to, 'S', statement->name, out);
    statement->prepared_on[at(to)] = 0;  // until it is answered
    statement->queries_before[at(to)] = to.replies.queries();
    if (statement->in_sql) {
        run(statement, to, out);
    } else {
        out.insert(out.end(), statement->definition.begin(), statement->definition.end());
        expect(to, Expect::parse, statement);
    }
    sent_.emplace_back(statement, to.lease_number);
}

// An empty text can be prepared in a failed transaction as well.
void Preparing::name(const PreparedPtr& statement,
                     PreparedStatements& all,
                     const Destination& to,
                     wire::Buffer& out) {
    if (is_there(statement, to) || to.replies.skipping()) return;
    close(to, 'S', statement->name, out);
    wire::encode_parse(out, statement->name, {}, {});
    expect(to, Expect::parse);
    all.leftovers(to.slot).names.push_back(statement->name);
}

void Preparing::no_unnamed(const Destination& to, wire::Buffer& out) {
    if (!to.replies.skipping()) close(to, 'S', {}, out);
}

void Preparing::names_in(const routing::StatementPtr& said,
                         PreparedStatements& all,
                         const Destination& to,
                         wire::Buffer& out) {
    using Kind = routing::Effect::Kind;
    if (!said) return;
    const auto& statement = said->statement;
    if (!statement.executes.empty()) {
        if (const auto known = all.find(statement.executes)) this->statement(known, to, out);
    }
    for (const auto& effect : statement.effects) {
        if ((effect.kind != Kind::deallocate && effect.kind != Kind::prepare) ||
            effect.name.empty())
            continue;
        if (const auto known = all.find(effect.name)) name(known, all, to, out);
    }
}

void Preparing::close_leftovers(PreparedStatements& all, const Destination& to, wire::Buffer& out) {
    auto& leftovers = all.leftovers(to.slot);
    if (leftovers.empty()) return;
    if (leftovers.all) {
        wire::encode_query(out, "DEALLOCATE ALL");
        expect(to, Expect::query);
    }
    const auto before = out.size();
    for (const auto& name : leftovers.names) {
        const auto live = all.find(name);
        if (live && live->prepared_on[at(to)] == to.lease_number) continue;
        close(to, 'S', name, out);
    }
    if (out.size() > before) {
        wire::encode_sync(out);
        to.replies.push({.what = Expect::sync, .internal = true});
    }
    leftovers = {};
}

}  // namespace pgsteer::proxy
