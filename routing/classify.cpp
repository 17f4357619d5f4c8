#include "routing/classify.hpp"

#include "routing/canonical.hpp"
#include "routing/classify_statements.hpp"
#include "routing/session_settings.hpp"
#include "routing/statement_cache.hpp"

#include <algorithm>
#include <unordered_set>

namespace pgsteer::routing {
namespace {

bool outlive_discard_all(const std::vector<Effect>& effects) {
    using Kind = Effect::Kind;
    return std::any_of(effects.begin(), effects.end(), [](const Effect& effect) {
        switch (effect.kind) {
            case Kind::backend_state:
                return true;
            case Kind::set:
            case Kind::reset:
                return SessionSettings::is_custom(effect.name);
            case Kind::set_local:
            case Kind::opaque_settings:
                return effect.name.empty() || SessionSettings::is_custom(effect.name);
            default:
                return false;
        }
    });
}

bool row_tells_settings(const Statement& statement) {
    bool any = false;
    for (const Effect& effect : statement.effects) {
        if (effect.kind != Effect::Kind::opaque_settings) continue;
        if (effect.name.empty()) return false;
        any = true;
    }
    return any && statement.statement_count == 1;
}

Statement unparsed(const Canonical& text, Reason reason, std::string detail) {
    Statement statement;
    statement.reason = reason;
    statement.hint = text.hint;
    statement.options = text.options;
    statement.detail = std::move(detail);
    statement.catalog_change = CatalogChange::possible;
    // The server's grammar may be newer than ours.
    if (text.may_change_settings)
        statement.effects.push_back({Effect::Kind::opaque_settings, 0, {}, {}});
    if (text.may_create_temporary)
        statement.effects.push_back({Effect::Kind::create_temporary, 0, {}, {}});
    if (text.may_take_lock) statement.effects.push_back({Effect::Kind::lock, 0, {}, {}});
    if (text.may_keep_state)
        statement.effects.push_back({Effect::Kind::backend_state, 0, "not parsed", {}});
    statement.outlives_discard_all = outlive_discard_all(statement.effects);
    return statement;
}

std::string_view own_text(std::string_view text, const PgQuery__RawStmt& raw) {
    const auto begin =
        std::min(static_cast<std::size_t>(std::max(raw.stmt_location, 0)), text.size());
    auto own = text.substr(begin);
    if (raw.stmt_len > 0) own = own.substr(0, static_cast<std::size_t>(raw.stmt_len));
    const auto first = own.find_first_not_of(" ;");
    if (first == std::string_view::npos) return {};
    return own.substr(first, own.find_last_not_of(" ;") - first + 1);
}

std::vector<Part> parts_of(const PgQuery__ParseResult& tree, std::string_view text) {
    std::vector<Part> parts;
    parts.reserve(tree.n_stmts);
    for (std::size_t i = 0; i < tree.n_stmts; ++i) {
        const Message* message = inside(tree.stmts[i]->stmt);
        const auto index = static_cast<std::uint16_t>(std::min<std::size_t>(i, UINT16_MAX));
        parts.push_back(message != nullptr
                            ? classify_part(message, own_text(text, *tree.stmts[i]), index)
                            : Part{});
    }
    return parts;
}

// The text as a whole; of its parts either what they are, or what they are if the names that they
// use are harmless.
struct Whole {
    Access access = Access::write;
    Reason reason = Reason::write;
    std::string detail;
};

Whole judge(const std::vector<Part>& parts,
            Access Part::*access,
            bool Part::*fits_read_only_transaction) {
    Whole statement;
    const auto all = [&](auto is) { return std::all_of(parts.begin(), parts.end(), is); };
    if (all([=](const Part& part) { return part.*access == Access::session_control; })) {
        statement.access = Access::session_control;
        statement.reason = Reason::session_control;
        if (!parts.empty()) statement.detail = parts.front().detail;
    } else if (all([=](const Part& part) { return part.*access == Access::read_only; })) {
        statement.access = Access::read_only;
        statement.reason = Reason::fresh_replica;
    } else if (parts.front().begins_read_only &&
               all([=](const Part& part) { return part.*fits_read_only_transaction; })) {
        statement.access = Access::begin_read_only;
        statement.reason = Reason::read_only_transaction;
    } else if (parts.size() == 1 && parts.front().*access == Access::begin) {
        statement.access = Access::begin;
        statement.reason = Reason::transaction_control;
        statement.detail = parts.front().detail;
    } else {
        const auto first = std::find_if(parts.begin(), parts.end(), [=](const Part& part) {
            return part.*access == Access::write || part.*access == Access::begin;
        });
        statement.reason = first != parts.end() ? first->reason : Reason::multi_statement;
        if (first != parts.end()) statement.detail = first->detail;
    }
    return statement;
}

// Of several statements only reads can be repeated elsewhere together.
InTransaction in_transaction(const std::vector<Part>& parts) {
    if (parts.empty()) return InTransaction::stays;
    if (parts.size() == 1) return parts.front().in_transaction;
    auto result = InTransaction::stays;
    for (const Part& part : parts) {
        if (part.if_harmless != Access::read_only) return InTransaction::leaves;
        if (part.in_transaction == InTransaction::ties) result = InTransaction::ties;
    }
    return result;
}

template <class Counts>
Uses without_doubles(const std::vector<Part>& parts,
                     std::vector<std::string> Part::*records,
                     Counts counts) {
    Uses uses;
    std::unordered_set<std::string_view> seen;
    for (const Part& part : parts)
        for (const std::string& record : part.*records)
            if (counts(record) && seen.insert(record).second) uses.add(record);
    uses.shrink_to_fit();
    return uses;
}

Statement whole(std::vector<Part> parts);

// Session control, like Parse: it touches no data, and is known to both connections.
void note_prepared(Part& part, Statement& statement) {
    statement.executes = std::move(part.executes);
    if (!part.prepares) return;
    statement.access = statement.if_harmless = Access::session_control;
    statement.in_transaction = InTransaction::stays;
    statement.raises_floor = false;
    std::vector<Part> parts;
    parts.push_back(std::move(*part.prepares));
    statement.prepares =
        std::make_shared<CachedStatement>(CachedStatement{whole(std::move(parts))});
}

Statement whole(std::vector<Part> parts) {
    Statement statement;
    statement.statement_count =
        static_cast<std::uint16_t>(std::min<std::size_t>(parts.size(), UINT16_MAX));
    Whole judged = judge(parts, &Part::access, &Part::fits_read_only_transaction);
    statement.access = judged.access;
    statement.reason = judged.reason;
    statement.detail = std::move(judged.detail);
    statement.if_harmless = judge(parts, &Part::if_harmless, &Part::fits_if_harmless).access;
    statement.in_transaction = in_transaction(parts);
    // Of what is no read only the functions matter, for what they may leave behind.
    statement.uses = without_doubles(parts, &Part::uses, [&](const std::string& record) {
        return statement.may_read() || Uses::is_unknown_function(record);
    });
    statement.written =
        without_doubles(parts, &Part::written, [](const std::string&) { return true; });
    for (const Part& part : parts) {
        statement.catalog_change = std::max(statement.catalog_change, part.catalog_change);
        if (statement.shows == Shows::nothing) statement.shows = part.shows;
    }
    statement.raises_floor =
        std::any_of(parts.begin(), parts.end(), [](const Part& part) { return part.raises_floor; });
    statement.uses_cursor =
        std::any_of(parts.begin(), parts.end(), [](const Part& part) { return part.uses_cursor; });
    statement.copies_in =
        std::any_of(parts.begin(), parts.end(), [](const Part& part) { return part.copies_in; });
    for (Part& part : parts)
        if (!part.name_used.empty()) statement.names_used.push_back(std::move(part.name_used));
    for (Part& part : parts)
        std::move(part.effects.begin(), part.effects.end(), std::back_inserter(statement.effects));
    statement.outlives_discard_all = outlive_discard_all(statement.effects);
    statement.row_tells_settings = row_tells_settings(statement);
    if (parts.size() == 1) note_prepared(parts.front(), statement);
    return statement;
}

}  // namespace

Statement classify(std::string_view sql) {
    const Canonical text = canonical(sql);
    if (!text.valid) return unparsed(text, Reason::syntax_error, "unterminated literal or comment");
    if (sql.size() > kMaxClassifiedBytes || text.text.size() > kMaxParsedBytes)
        return unparsed(text, Reason::too_complex, "too long");
    if (text.nesting > kMaxNesting || text.depth > kMaxDepth)
        return unparsed(text, Reason::too_complex, "too deep");
    if (text.junk_number)
        return unparsed(text, Reason::syntax_error, "trailing junk after a number or parameter");

    const ParseTree tree = parse(text.text);
    if (!tree.root) return unparsed(text, Reason::syntax_error, tree.error);

    std::vector<Part> parts = parts_of(*tree.root, text.text);
    Statement statement = whole(std::move(parts));
    statement.hint = text.hint;
    statement.options = text.options;
    return statement;
}

}  // namespace pgsteer::routing
