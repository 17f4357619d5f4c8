#include "proxy/session/client_statements.hpp"

#include "proxy/wire/frontend.hpp"

#include <atomic>
#include <utility>

namespace pgsteer::proxy {

using Kind = routing::Effect::Kind;

PreparedTextPtr ClientStatements::make(std::string_view name,
                                       wire::Bytes definition,
                                       routing::StatementPtr statement,
                                       bool in_sql) {
    auto made = std::make_shared<PreparedText>();
    static std::atomic<std::uint64_t> last_id{Ledger::kUnknown};
    made->id = ++last_id;
    made->name = name_of(name);
    made->in_sql = in_sql;
    made->statement = std::move(statement);
    made->kept_bytes = kept_bytes_;
    if (may_keep(definition.size())) {
        made->definition.assign(definition.begin(), definition.end());
        *kept_bytes_ += definition.size();
    }
    return made;
}

ClientStatements::Sent ClientStatements::parse(std::string_view name,
                                               wire::Bytes message,
                                               routing::StatementPtr statement,
                                               Ledger& on) {
    auto text = make(name, message, std::move(statement), false);
    const auto id = text->id;
    return {names_.parse(name, {.id = id, .text = std::move(text)}),
            on.names().parse(name, {.id = id})};
}

ClientStatements::Sent ClientStatements::close(std::string_view name, Ledger& on) {
    return {names_.close(name), on.names().close(name)};
}

void ClientStatements::note_effects(const routing::StatementPtr& runs, Ledger& on) {
    for (const auto& effect : runs->statement.effects) {
        const auto index = effect.statement_index;
        if (effect.kind == Kind::prepare) {
            prepare(effect, runs->statement.prepares, on);
        } else if (effect.kind == Kind::deallocate) {
            names_.deallocate(effect.name, index);
            on.names().deallocate(effect.name, index);
        } else if (effect.kind == Kind::deallocate_all || effect.kind == Kind::discard_all) {
            names_.deallocate_all(index);
            on.names().deallocate_all(index);
        }
    }
}

void ClientStatements::parse_here(std::string_view name,
                                  wire::Bytes message,
                                  routing::StatementPtr statement) {
    auto text = make(name, message, std::move(statement), false);
    const auto id = text->id;
    names_.completed(names_.parse(name, {.id = id, .text = std::move(text)}));
    names_.commit();
}

void ClientStatements::query_here() {
    names_.completed(names_.send(MessageKind::query));
    names_.commit();
}

void ClientStatements::sync_here() {
    names_.send(MessageKind::sync);
    names_.commit();
}

// `prepares`: null where it does not stand alone in its text. It can be said again there as well.
void ClientStatements::prepare(const routing::Effect& effect,
                               const routing::StatementPtr& prepares,
                               Ledger& on) {
    wire::Buffer query;
    wire::encode_query(query, effect.sql);
    auto text = make(effect.name, query, prepares, true);
    const auto id = text->id;
    names_.prepare(effect.name, {.id = id, .text = std::move(text)}, effect.statement_index);
    on.names().prepare(effect.name, {.id = id}, effect.statement_index);
}

ClientStatements::Needed ClientStatements::needed(std::string_view name, const Ledger& on) const {
    const auto [after, means] = names_.look(name);
    if (means == nullptr) return {Lack::nothing, after.text};
    if (!*means) return {on.lack_of_none(name), after.text};
    if (!means->text->definition.empty()) return {on.lack_of(name, means->id), means->text};
    const auto* const has = on.names().next(name);
    return {has != nullptr && *has && has->id != means->id ? Lack::close : Lack::nothing,
            means->text};
}

ClientStatements::Needed ClientStatements::needed(std::string_view name,
                                                  const Ledger& on,
                                                  const Columns::On& where,
                                                  std::uint32_t changes) const {
    auto found = needed(name, on);
    const bool is_there = found.lack == Lack::nothing && found.text &&
                          found.text->columns.are_old(where, changes) &&
                          names_.next(name) != nullptr;
    if (is_there) found.lack = name.empty() ? Lack::parse : Lack::close_and_parse;
    return found;
}

Lack ClientStatements::lack_of_any(std::string_view name, const Ledger& on) const {
    const auto* const means = names_.next(name);
    if (means == nullptr) return Lack::nothing;
    return *means ? on.lack_of_any(name) : on.lack_of_none(name);
}

}  // namespace pgsteer::proxy
