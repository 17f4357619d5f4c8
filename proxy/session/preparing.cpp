#include "proxy/session/preparing.hpp"

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"

namespace pgsteer::proxy {

namespace {

// Names a statement and a portal of ours for the length of five messages.
constexpr std::string_view kOurs = "pgsteer.prepare";
// Can be executed in any transaction, changes nothing that anybody reads, and returns no rows.
constexpr std::string_view kNothing = "SET LOCAL pgsteer.portal TO ''";

// The text of a Query.
std::string_view sql_of(wire::Bytes query) {
    return wire::as_text(query.subspan(wire::kHeaderBytes, query.size() - wire::kHeaderBytes - 1));
}

}  // namespace

void Preparing::expect(Expect what, SentMessage sent) {
    replies_.push({.what = what, .internal = true, .purpose = Purpose::prepare, .on_server = sent});
}

void Preparing::close(std::uint8_t kind, std::string_view name, wire::Buffer& out) {
    wire::encode_close(out, kind, name);
    expect(Expect::close, kind == 'S' ? ledger_.names().close(name) : SentMessage{});
}

Preparing::Supplied Preparing::statement(std::string_view name, wire::Buffer& out) {
    const auto& text = supply(name, out);
    if (!text) return {text, false};
    if (text->statement) names_in(text->statement, out);
    return {text, text->columns.fit(on_) == Columns::Fit::others && !replies_.skipping()};
}

SentMessage Preparing::described(std::string_view name, wire::Buffer& out) {
    const auto& text = client_.find(name);
    if (!text || replies_.skipping()) return {};
    if (!name.empty()) close('S', name, out);
    if (text->statement) names_in(text->statement, out);
    prepare(*text, out);
    wire::encode_describe(out, 'S', name);
    const auto sent = ledger_.names().send(MessageKind::extended);
    expect(Expect::describe, sent);
    return sent;
}

const PreparedTextPtr& Preparing::supply(std::string_view name, wire::Buffer& out) {
    const auto [lack, text] = client_.needed(name, ledger_, on_, changes_);
    if (replies_.skipping()) return text;
    if (lack == Lack::close || lack == Lack::close_and_parse) close('S', name, out);
    if (lack == Lack::parse || lack == Lack::close_and_parse) prepare(*text, out);
    return text;
}

void Preparing::prepare(const PreparedText& text, wire::Buffer& out) {
    text.columns.copied(on_, changes_);
    if (text.in_sql) return run(text, out);
    parse(text, out);
}

void Preparing::parse(const PreparedText& text, wire::Buffer& out) {
    out.insert(out.end(), text.definition.begin(), text.definition.end());
    expect(Expect::parse, ledger_.names().parse(text.name, {.id = text.id}));
}

// By the extended protocol: a Query would end what the client has open. The statement is left.
SentMessage Preparing::execute_ours(std::string_view sql,
                                    std::string_view portal,
                                    wire::Buffer& out) {
    auto& names = ledger_.names();
    if (ledger_.lack_of_none(kOurs) != Lack::nothing) close('S', kOurs, out);
    wire::encode_parse(out, kOurs, sql, {});
    expect(Expect::parse, names.parse(kOurs, {.id = Ledger::kUnknown}));
    wire::encode_bind(out, portal, kOurs);
    expect(Expect::bind, {});
    wire::encode_execute(out, portal);
    return names.send(MessageKind::extended);
}

// PREPARE.
void Preparing::run(const PreparedText& text, wire::Buffer& out) {
    command(sql_of(text.definition), &text, out);
}

void Preparing::command(std::string_view sql, const PreparedText* prepares, wire::Buffer& out) {
    if (replies_.skipping()) return;
    const auto sent = execute_ours(sql, kOurs, out);
    if (prepares != nullptr) ledger_.names().prepare(prepares->name, {.id = prepares->id}, 0);
    expect(Expect::execute, sent);
    close('P', kOurs, out);
    close('S', kOurs, out);
}

void Preparing::portal_at_end(std::string_view name, wire::Buffer& out) {
    expect(Expect::execute, execute_ours(kNothing, name, out));
    close('S', kOurs, out);
    is_to_end_ = true;
}

void Preparing::executed(wire::Buffer& out) { command(kNothing, out); }

void Preparing::sync(wire::Buffer& out) {
    if (!std::exchange(is_to_end_, false)) return;
    add_own_sync(replies_, out);
}

// An empty text can be prepared in a failed transaction as well.
void Preparing::name(std::string_view name, wire::Buffer& out) {
    const auto lack = client_.lack_of_any(name, ledger_);
    if (lack == Lack::nothing || replies_.skipping()) return;
    if (lack != Lack::parse) close('S', name, out);
    if (lack == Lack::close) return;
    wire::encode_parse(out, name, {}, {});
    expect(Expect::parse, ledger_.names().parse(name, {.id = Ledger::kUnknown}));
}

void Preparing::names_in(const routing::StatementPtr& said, wire::Buffer& out) {
    using Kind = routing::Effect::Kind;
    if (!said) return;
    for (const auto& used : said->statement.names_used) supply(used, out);
    for (const auto& effect : said->statement.effects) {
        const bool names_one = effect.kind == Kind::deallocate || effect.kind == Kind::prepare;
        if (names_one && !effect.name.empty()) name(effect.name, out);
    }
}

void Preparing::parse_again(std::string_view name, wire::Bytes message, wire::Buffer& out) {
    if (ledger_.lack_of_none(name) != Lack::nothing) close('S', name, out);
    out.insert(out.end(), message.begin(), message.end());
    expect(Expect::parse, ledger_.names().parse(name, {.id = Ledger::kUnknown}));
}

void Preparing::repeat(const BatchItem& item, wire::Bytes message, wire::Buffer& out) {
    out.insert(out.end(), message.begin(), message.end());
    replies_.push({.what = item.type == wire::frontend::kBind ? Expect::bind : Expect::execute,
                   .internal = true,
                   .purpose = Purpose::repeat,
                   .limited = item.limited});
}

void Preparing::close_leftovers(wire::Buffer& out) {
    const auto leftovers = ledger_.take_leftovers([this](std::string_view name, std::uint64_t id) {
        const auto& text = client_.find(name);
        return text && text->id == id;
    });
    if (leftovers.all) {
        auto& names = ledger_.names();
        const auto sent = names.send(MessageKind::query);
        names.deallocate_all(0);
        wire::encode_query(out, "DEALLOCATE ALL");
        return expect(Expect::query, sent);
    }
    if (leftovers.names.empty()) return;
    for (const auto& name : leftovers.names) close('S', name, out);
    add_own_sync(replies_, out);
}

}  // namespace pgsteer::proxy
