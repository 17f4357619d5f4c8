#include "proxy/session/batch_facts.hpp"

#include "proxy/session/last_by_name.hpp"
#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace frontend = wire::frontend;
using routing::Access;
using routing::InTransaction;
using routing::StatementPtr;

namespace {

// What only reads, or begins to.
bool reads(Access access) {
    return access == Access::read_only || access == Access::begin_read_only ||
           access == Access::begin;
}

int rank(const routing::Statement& statement) {
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

// Joins the verdicts on the parts of a batch.
class Strictest {
public:
    Strictest(const FactsContext& context, BatchFacts& facts) : context_{context}, facts_{facts} {}

    void add(const StatementPtr& said) {
        if (said.get() == last_) {  // once more says nothing new of it
            statements_ += is_last_neutral_ ? 0 : 1;
            return;
        }
        const auto& judge = context_.judge;
        const auto& runs = what_runs(said, context_.statements);
        note(runs->statement);
        const auto statement =
            routing::judge(runs, judge.context, judge.view, judge.shared, &facts_.kept);
        facts_.ties = facts_.ties || statement->statement.may_follow() == InTransaction::ties;
        const bool is_neutral = statement == neutral_;
        last_ = said.get();
        is_last_neutral_ = is_neutral;
        if (!is_neutral) {
            ++statements_;
            facts_.may_commit = facts_.may_commit || commits_;
            control_ = control_ || statement->statement.access == Access::session_control;
        }
        if (rank(statement->statement) > rank(result_->statement) || result_ == neutral_)
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
    void note(const routing::Statement& said) {
        using Kind = routing::Effect::Kind;
        commits_ = said.statement_count == 0;  // not read
        bool changes_names = said.catalog_change == routing::CatalogChange::certain;
        for (const auto& effect : said.effects) {
            commits_ = commits_ || effect.kind == Kind::commit;
            changes_names =
                changes_names || effect.kind == Kind::set || effect.kind == Kind::reset ||
                effect.kind == Kind::reset_all || effect.kind == Kind::discard_all ||
                effect.kind == Kind::opaque_settings || effect.kind == Kind::declare_hold;
            facts_.sets_options =
                facts_.sets_options ||
                (effect.kind == Kind::set && effect.name.starts_with(routing::kOptionPrefix));
        }
        facts_.changes_names = facts_.changes_names || changes_names;
    }

    const FactsContext& context_;
    BatchFacts& facts_;
    const StatementPtr& neutral_ = synthetic_verdicts().neutral;
    StatementPtr result_ = neutral_;
    const routing::CachedStatement* last_ = nullptr;  // that was added
    bool is_last_neutral_ = false;
    int statements_ = 0;
    bool commits_ = false;
    bool control_ = false;
};

// Whether one statement is all that a batch runs, and to its end.
class OnlyStatement {
public:
    void query(const StatementPtr& statement) {
        fits_ = fits_ && messages_ == 0;
        ++messages_;
        runs_ = &statement;
    }
    void parse(std::string_view name, const StatementPtr& statement, bool replaces) {
        fits_ = fits_ && !parsed_ && !bound_ && !replaces;
        ++messages_;
        parsed_ = true;
        name_ = name;
        runs_ = &statement;
    }
    // `prepared`: what it runs if it was not parsed here.
    void bind(std::string_view name, std::string_view portal, const StatementPtr& prepared) {
        fits_ = fits_ && !bound_ && (!parsed_ || name == name_);
        ++messages_;
        bound_ = true;
        portal_ = portal;
        if (!parsed_) runs_ = &prepared;
    }
    void describe(bool portal) {
        fits_ = fits_ && !executed_ && (portal ? bound_ : parsed_);
        ++messages_;
    }
    void execute(std::string_view portal, bool limited) {
        fits_ = fits_ && !executed_ && bound_ && !limited && portal == portal_;
        ++messages_;
        executed_ = true;
    }
    void sync() { syncs_ = true; }
    void other() { fits_ = false; }
    [[nodiscard]] StatementPtr result() const {
        const bool is_query = messages_ == 1 && !syncs_ && !parsed_ && !bound_ && !executed_;
        return fits_ && (is_query || (executed_ && syncs_)) ? *runs_ : nullptr;
    }

private:
    std::string_view name_;
    std::string_view portal_;
    const StatementPtr* runs_ = nullptr;
    int messages_ = 0;
    bool fits_ = true;
    bool parsed_ = false;
    bool bound_ = false;
    bool executed_ = false;
    bool syncs_ = false;
};

// One pass: each message finds what was said of its names before it.
class Reader {
public:
    Reader(const Batch& batch, wire::Bytes bytes, const FactsContext& context)
        : batch_{batch}, bytes_{bytes}, context_{context}, strictest_{context, facts_} {}

    BatchFacts read() {
        for (const auto& item : batch_.items) add(item);
        const bool is_incomplete = batch_.bytes > bytes_.size();  // the rest is passed on unkept
        facts_.ends = batch_.ends;
        facts_.statement = strictest_.result();
        if (reads(facts_.statement->statement.access) &&
            (is_incomplete || batch_.bytes > context_.max_read_bytes))
            facts_.statement = verdicts_.too_large;
        if (batch_.ends && !is_incomplete) facts_.only = only_.result();
        if (executions_ == 1 && executed_ != nullptr) facts_.executed = *executed_;
        for (const auto& [name, portal] : bound_)
            facts_.leaves_portal = facts_.leaves_portal || !portal.is_executed;
        return std::move(facts_);
    }

private:
    static constexpr std::size_t kUnknown = 2;  // executions, where it is not known what runs
    // Of a portal that is bound in this batch.
    struct Bound {
        const StatementPtr* statement;
        bool is_executed;
    };
    // What a name means at this point of the batch.
    struct Used {
        std::string_view name;
        const StatementPtr* statement = nullptr;
        const StatementPtr* counts_as = nullptr;  // each time; null: where it was parsed
    };

    void add(const BatchItem& item) {
        switch (item.type) {
            case frontend::kQuery:
                return query(item);
            case frontend::kParse:
                return parse(item);
            case frontend::kBind:
                return bind(item);
            case frontend::kDescribe:
                only_.describe(item.target == 'P');
                if (item.target == 'S') uses(item);
                return;
            case frontend::kExecute:
                return execute(item);
            case frontend::kFunctionCall:
                only_.other();
                executions_ += kUnknown;
                return strictest_.add(verdicts_.function_call);
            case frontend::kSync:
                return only_.sync();
            default:
                return only_.other();
        }
    }

    void query(const BatchItem& item) {
        executions_ += batch_.items.size() > 1 ? kUnknown : 1;  // an error in front skips it
        executed_ = &item.statement;
        only_.query(item.statement);
        if (item.statement) {
            const auto& statement = item.statement->statement;
            note_names_in(statement);
            if (statement.prepares && !context_.statements.may_keep(item.end - item.begin))
                strictest_.add(verdicts_.too_large);
        }
        strictest_.add(or_unread(item.statement));
    }

    void parse(const BatchItem& item) {
        const auto name = name_of(item, bytes_);
        // One that cannot be kept for the other connection has to live on the primary.
        if (!context_.statements.may_keep(item.end - item.begin))
            strictest_.add(verdicts_.too_large);
        const bool replaces = !name.empty() && context_.statements.find(name);
        if (!name.empty()) note_uncertain(name);
        strictest_.add(or_unread(item.statement));
        parsed_.put(name, &item.statement);
        used_ = {};
        only_.parse(name, item.statement, replaces);
    }

    void bind(const BatchItem& item) {
        const auto& statement = uses(item);
        const auto portal = portal_of(item, bytes_);
        const bool begins = statement && (statement->statement.access == Access::begin ||
                                          statement->statement.access == Access::begin_read_only);
        // BEGIN by a portal with a name, which lives on in the transaction: on the same connection.
        if (!portal.empty() && begins) strictest_.add(verdicts_.unknown_portal);
        // A cursor may have this name.
        if (!portal.empty() && context_.has_cursors) strictest_.add(verdicts_.beside_cursors);
        facts_.leaves_portal = facts_.leaves_portal || !portal.empty();
        bound_.put(portal, {&statement, false});
        only_.bind(name_of(item, bytes_), portal, statement);
    }

    void execute(const BatchItem& item) {
        const auto portal = name_of(item, bytes_);
        ++executions_;
        facts_.leaves_portal = facts_.leaves_portal || item.limited;
        only_.execute(portal, item.limited);
        if (auto* const bound = bound_.find(portal)) {  // its statement is counted there
            bound->is_executed = true;
            executed_ = bound->statement;
            return;
        }
        const auto known = find_portal(context_.portals, portal);
        const bool is_known = known != context_.portals.end() && known->statement;
        executed_ = is_known ? &known->statement : nullptr;
        if (is_known && is_at_end(*known)) return;  // an error, wherever the portal is
        strictest_.add(is_known ? known->statement : verdicts_.unknown_portal);
    }

    // The statement that Bind or Describe names: counted where the batch parses it, else here.
    const StatementPtr& uses(const BatchItem& item) {
        const auto name = name_of(item, bytes_);
        if (used_.statement == nullptr || used_.name != name) used_ = find(name);
        if (used_.counts_as != nullptr) strictest_.add(*used_.counts_as);
        return *used_.statement;
    }
    Used find(std::string_view name) {
        if (const auto* const parsed = parsed_.find(name)) return {name, *parsed, nullptr};
        const auto [known, is_settled] = context_.statements.look(name);
        facts_.names_uncertain = facts_.names_uncertain || !is_settled;
        if (!known) return {name, &nothing_, &verdicts_.unknown_statement};
        if (known->columns.were_told()) note_columns(known->columns, name.empty());
        if (known->statement) note_names_in(known->statement->statement);
        const bool can_be_anywhere = known->statement && !known->definition.empty();
        return {name, &known->statement, can_be_anywhere ? &known->statement : &unread()};
    }

    void note_columns(const Columns& columns, bool is_unnamed) {
        facts_.uses_told_unnamed = facts_.uses_told_unnamed || is_unnamed;
        for (const auto slot : {routing::Slot::primary, routing::Slot::replica}) {
            const auto place = static_cast<std::size_t>(slot);
            facts_.doubtful_on[place] = facts_.doubtful_on[place] ||
                                        columns.are_doubtful({slot, context_.connections[place]});
        }
    }
    void note_names_in(const routing::Statement& statement) {
        for (const auto& name : statement.names_used) note_uncertain(name);
        for (const auto& effect : statement.effects)
            if (effect.kind == routing::Effect::Kind::prepare ||
                effect.kind == routing::Effect::Kind::deallocate)
                note_uncertain(effect.name);
    }
    void note_uncertain(std::string_view name) {
        facts_.names_uncertain =
            facts_.names_uncertain || !context_.statements.look(name).is_settled;
    }
    [[nodiscard]] const StatementPtr& unread() const {
        return context_.can_classify ? verdicts_.too_complex : verdicts_.unclassified_encoding;
    }
    [[nodiscard]] const StatementPtr& or_unread(const StatementPtr& statement) const {
        return statement ? statement : unread();
    }

    const Batch& batch_;
    wire::Bytes bytes_;
    const FactsContext& context_;
    const SyntheticVerdicts& verdicts_ = synthetic_verdicts();
    BatchFacts facts_;
    Strictest strictest_;
    OnlyStatement only_;
    LastByName<const StatementPtr*> parsed_;  // by statement
    LastByName<Bound> bound_;                 // by portal
    Used used_;                               // the last: most messages name it again
    StatementPtr nothing_;
    const StatementPtr* executed_ = nullptr;  // the last
    std::size_t executions_ = 0;
};

}  // namespace

const StatementPtr& what_runs(const StatementPtr& statement, const ClientStatements& statements) {
    if (!statement || statement->statement.executes.empty()) return statement;
    const auto& known = statements.find(statement->statement.executes);
    const bool is_known = known && known->statement && !known->definition.empty() &&
                          known->statement->statement.executes.empty();
    return is_known ? known->statement : statement;
}

bool has_no_parameters(const Batch& batch, wire::Bytes bytes, const ClientStatements& statements) {
    const auto declares_none = [](wire::Bytes message) {
        const auto parse = wire::decode_parse(message.subspan(wire::kHeaderBytes));
        return parse && parse->param_oids.empty();
    };
    bool is_parsed = false;
    for (const auto& item : batch.items) {
        const auto message = bytes.subspan(item.begin, item.end - item.begin);
        if (item.type == frontend::kParse) {
            if (!declares_none(message)) return false;
            is_parsed = true;
        }
        if (item.type != frontend::kBind) continue;
        if (!wire::binds_no_parameter(message.subspan(wire::kHeaderBytes))) return false;
        if (is_parsed) continue;
        const auto& known = statements.find(name_of(item, bytes));
        if (known && !known->in_sql && !known->definition.empty() &&
            !declares_none(known->definition))
            return false;
    }
    return true;
}

BatchFacts facts_of(const Batch& batch, wire::Bytes bytes, const FactsContext& context) {
    return Reader{batch, bytes, context}.read();
}

}  // namespace pgsteer::proxy
