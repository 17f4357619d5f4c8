#include "proxy/session/batch_verdict.hpp"

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace frontend = wire::frontend;
using routing::Access;
using routing::CatalogChange;
using routing::InTransaction;
using routing::Reason;
using routing::StatementPtr;

namespace {

StatementPtr synthetic(Access access,
                       Reason reason,
                       bool raises_floor = true,
                       CatalogChange catalog_change = CatalogChange::none) {
    auto cached = std::make_shared<routing::CachedStatement>();
    cached->statement.access = access;
    cached->statement.reason = reason;
    cached->statement.raises_floor = raises_floor;
    cached->statement.catalog_change = catalog_change;
    if (access == Access::session_control) cached->statement.in_transaction = InTransaction::stays;
    return cached;
}

bool binds_portal(const Batch& batch, wire::Bytes bytes, std::string_view portal) {
    return std::any_of(batch.items.begin(), batch.items.end(), [&](const BatchItem& item) {
        return item.type == frontend::kBind && portal_of(item, bytes) == portal;
    });
}

// What the names in statements behind it mean may be different once it has run.
bool changes_names(const routing::Statement& statement) {
    using Kind = routing::Effect::Kind;
    if (statement.catalog_change == routing::CatalogChange::certain) return true;
    return std::any_of(statement.effects.begin(), statement.effects.end(), [](const auto& effect) {
        return effect.kind == Kind::set || effect.kind == Kind::reset ||
               effect.kind == Kind::reset_all || effect.kind == Kind::discard_all ||
               effect.kind == Kind::opaque_settings;
    });
}

// What only reads, or begins to.
bool reads(Access access) {
    return access == Access::read_only || access == Access::begin_read_only ||
           access == Access::begin;
}

bool may_commit(const routing::Statement& statement) {
    return statement.statement_count == 0 ||
           std::any_of(statement.effects.begin(), statement.effects.end(),
                       [](const routing::Effect& effect) {
                           return effect.kind == routing::Effect::Kind::commit;
                       });
}

// Joins the verdicts on the parts of a batch.
class Strictest {
public:
    Strictest(CatalogJudge* judge, const PreparedStatements& prepared)
        : judge_{judge}, prepared_{prepared} {}
    void add(const StatementPtr& said) {
        const auto statement = judged(what_runs(said, prepared_));
        const auto& neutral = synthetic_verdicts().neutral;
        if (statement != neutral) {
            ++statements_;
            if (judge_ != nullptr && may_commit(said->statement)) judge_->may_commit = true;
        }
        if (statement->statement.access == Access::session_control)
            control_ = control_ || statement != neutral;
        if (rank(statement->statement) > rank(result_->statement) || result_ == neutral)
            result_ = statement;
    }
    [[nodiscard]] StatementPtr result() const {
        const auto& result = result_->statement;
        const bool is_followed = result.access == Access::write && statements_ > 1 &&
                                 result.may_follow() != InTransaction::leaves;
        return (control_ && reads(result.access)) || is_followed ? synthetic_verdicts().mixed
                                                                 : result_;
    }

private:
    [[nodiscard]] StatementPtr judged(const StatementPtr& said) {
        if (judge_ == nullptr) return said;
        judge_->changes_names = judge_->changes_names || changes_names(said->statement);
        auto statement =
            routing::judge(said, judge_->context, judge_->view, judge_->shared, &judge_->kept);
        judge_->ties = judge_->ties || statement->statement.may_follow() == InTransaction::ties;
        return statement;
    }
    static int rank(const routing::Statement& statement) {
        const int ties = statement.may_follow() == InTransaction::ties ? 1 : 0;
        switch (statement.access) {
            case Access::session_control:
                return 0 + ties;
            case Access::read_only:
                return 2 + ties;
            case Access::begin_read_only:
                return 4;
            case Access::begin:
                return 5;
            case Access::write:
                return statement.may_follow() == InTransaction::leaves ? 8 : 6 + ties;
        }
        return 8;
    }
    CatalogJudge* judge_;
    const PreparedStatements& prepared_;
    int statements_ = 0;
    StatementPtr result_ = synthetic_verdicts().neutral;
    bool control_ = false;
};

// BEGIN by a portal with a name, which lives on in the transaction: on the same connection.
bool begins_by_name(const BatchItem& bind, const StatementPtr& statement) {
    if (bind.portal_size == 0 || !statement) return false;
    const auto access = statement->statement.access;
    return access == Access::begin || access == Access::begin_read_only;
}

void note_uncertain(const PreparedPtr& known, const VerdictContext& context) {
    if (context.names_uncertain != nullptr && (!known || !known->is_certain))
        *context.names_uncertain = true;
}

}  // namespace

SyntheticVerdicts::SyntheticVerdicts()
    : neutral{synthetic(Access::session_control, Reason::session_control, false)},
      unclassified_encoding{synthetic(Access::write, Reason::unclassified_encoding)},
      too_complex{synthetic(Access::write, Reason::too_complex, true, CatalogChange::possible)},
      mixed{synthetic(Access::write, Reason::multi_statement)},
      unknown_statement{synthetic(Access::write, Reason::sql_prepare)},
      unknown_portal{synthetic(Access::write, Reason::cursor)},
      function_call{synthetic(Access::write, Reason::function_call)},
      too_large{synthetic(Access::write, Reason::request_too_large)} {}

const SyntheticVerdicts& synthetic_verdicts() {
    static const SyntheticVerdicts kVerdicts;
    return kVerdicts;
}

Portals::iterator find_portal(Portals& portals, std::string_view name) {
    return std::find_if(portals.begin(), portals.end(),
                        [&](const auto& entry) { return entry.first == name; });
}

Portals::const_iterator find_portal(const Portals& portals, std::string_view name) {
    return std::find_if(portals.begin(), portals.end(),
                        [&](const auto& entry) { return entry.first == name; });
}

const BatchItem* parse_before(const Batch& batch, wire::Bytes bytes, const BatchItem& user) {
    const auto name = name_of(user, bytes);
    const BatchItem* found = nullptr;
    for (const auto& item : batch.items) {
        if (&item == &user) break;
        if (item.type == frontend::kParse && name_of(item, bytes) == name) found = &item;
    }
    return found;
}

const StatementPtr& what_runs(const StatementPtr& statement, const PreparedStatements& prepared) {
    if (!statement || statement->statement.executes.empty()) return statement;
    const auto known = prepared.find(statement->statement.executes);
    const bool is_known = known && known->statement && !known->definition.empty() &&
                          known->statement->statement.executes.empty();
    return is_known ? known->statement : statement;
}

StatementPtr only_statement(const Batch& batch,
                            wire::Bytes bytes,
                            const PreparedStatements& prepared) {
    const auto& items = batch.items;
    if (!batch.ends || batch.bytes > bytes.size()) return nullptr;
    if (items.size() == 1)
        return items.front().type == frontend::kQuery ? items.front().statement : nullptr;
    if (items.back().type != frontend::kSync) return nullptr;
    const BatchItem* parse = nullptr;
    const BatchItem* bind = nullptr;
    bool executed = false;
    for (const auto& item : items) {
        switch (item.type) {
            case frontend::kParse:
                if (parse != nullptr || bind != nullptr) return nullptr;
                if (item.name_size > 0 && prepared.find(name_of(item, bytes))) return nullptr;
                parse = &item;
                break;
            case frontend::kBind:
                if (bind != nullptr) return nullptr;
                if (parse != nullptr && name_of(*parse, bytes) != name_of(item, bytes))
                    return nullptr;
                bind = &item;
                break;
            case frontend::kDescribe:
                if (executed || (item.target == 'P' ? bind == nullptr : parse == nullptr))
                    return nullptr;
                break;
            case frontend::kExecute:
                if (executed || bind == nullptr || item.limited ||
                    name_of(item, bytes) != portal_of(*bind, bytes))
                    return nullptr;
                executed = true;
                break;
            case frontend::kSync:
                break;
            default:
                return nullptr;
        }
    }
    if (!executed) return nullptr;
    if (parse != nullptr) return parse->statement;
    const auto known = prepared.find(name_of(*bind, bytes));
    return known ? known->statement : nullptr;
}

bool has_no_parameters(const Batch& batch, wire::Bytes bytes, const PreparedStatements& prepared) {
    const auto declares_none = [](wire::Bytes message) {
        const auto parse = wire::decode_parse(message.subspan(wire::kHeaderBytes));
        return parse && parse->param_oids.empty();
    };
    for (const auto& item : batch.items) {
        const auto message = bytes.subspan(item.begin, item.end - item.begin);
        if (item.type == frontend::kParse && !declares_none(message)) return false;
        if (item.type != frontend::kBind) continue;
        if (!wire::binds_no_parameter(message.subspan(wire::kHeaderBytes))) return false;
        const auto known = prepared.find(name_of(item, bytes));
        if (known && !known->in_sql && !known->definition.empty() &&
            parse_before(batch, bytes, item) == nullptr && !declares_none(known->definition))
            return false;
    }
    return true;
}

bool leaves_portal(const Batch& batch, wire::Bytes bytes) {
    const auto* const end = batch.items.data() + batch.items.size();
    const auto is_executed = [&](const BatchItem& bind) {  // right behind it, as a rule
        return std::any_of(&bind + 1, end, [&](const BatchItem& item) {
            return item.type == frontend::kExecute &&
                   name_of(item, bytes) == portal_of(bind, bytes);
        });
    };
    return std::any_of(batch.items.begin(), batch.items.end(), [&](const BatchItem& item) {
        return (item.type == frontend::kExecute && item.limited) ||
               (item.type == frontend::kBind && (item.portal_size > 0 || !is_executed(item)));
    });
}

StatementPtr strictest(const Batch& batch, wire::Bytes bytes, const VerdictContext& context) {
    const auto& verdicts = synthetic_verdicts();
    const auto& unread =
        context.can_classify ? verdicts.too_complex : verdicts.unclassified_encoding;
    Strictest strictest{context.judge, context.prepared};
    bool parses = false;  // before `item`: most batches do not, and are not searched for it
    for (const auto& item : batch.items) {
        switch (item.type) {
            case frontend::kQuery:
                if (item.statement && !item.statement->statement.executes.empty())
                    note_uncertain(context.prepared.find(item.statement->statement.executes),
                                   context);
                if (item.statement && item.statement->statement.prepares &&
                    !context.prepared.may_keep(item.end - item.begin))
                    strictest.add(verdicts.too_large);
                strictest.add(item.statement ? item.statement : unread);
                break;
            case frontend::kParse:
                // One that cannot be kept for the other connection has to live on the primary.
                if (!context.prepared.may_keep(item.end - item.begin))
                    strictest.add(verdicts.too_large);
                if (item.name_size > 0) {
                    const auto& known = context.prepared.find(name_of(item, bytes));
                    if (known) note_uncertain(known, context);
                }
                strictest.add(item.statement ? item.statement : unread);
                parses = true;
                break;
            case frontend::kDescribe:
                if (item.target != 'S') break;
                [[fallthrough]];
            case frontend::kBind: {
                if (const auto* parse = parses ? parse_before(batch, bytes, item) : nullptr) {
                    if (begins_by_name(item, parse->statement))
                        strictest.add(verdicts.unknown_portal);
                    break;  // counted there
                }
                const auto& known = context.prepared.find(name_of(item, bytes));
                note_uncertain(known, context);
                if (known && begins_by_name(item, known->statement))
                    strictest.add(verdicts.unknown_portal);
                if (!known) {
                    strictest.add(verdicts.unknown_statement);
                } else {
                    strictest.add(known->statement && !known->definition.empty() ? known->statement
                                                                                 : unread);
                }
                break;
            }
            case frontend::kExecute: {
                const auto portal = name_of(item, bytes);
                if (binds_portal(batch, bytes, portal)) break;  // counted there
                const auto known = find_portal(context.portals, portal);
                strictest.add(known == context.portals.end() || !known->second
                                  ? verdicts.unknown_portal
                                  : known->second);
                break;
            }
            case frontend::kFunctionCall:
                strictest.add(verdicts.function_call);
                break;
            default:
                break;
        }
    }
    auto result = strictest.result();
    const bool incomplete = batch.bytes > bytes.size();  // the rest is passed on unkept
    return reads(result->statement.access) && (incomplete || batch.bytes > context.max_read_bytes)
               ? verdicts.too_large
               : result;
}

}  // namespace pgsteer::proxy
