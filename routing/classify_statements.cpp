#include "routing/classify_statements.hpp"

#include "routing/builtins.hpp"
#include "routing/classify_read.hpp"
#include "routing/database_statements.hpp"
#include "routing/function_body.hpp"
#include "routing/lower.hpp"
#include "routing/search_path.hpp"
#include "routing/session_settings.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

using Form = Effect::Form;
using Kind = Effect::Kind;

constexpr std::int32_t kCursorHold = 0x0020;  // parsenodes.h, CURSOR_OPT_HOLD

// Where a replica's connection differs from the primary's on purpose, or a transaction decides.
bool belongs_to_primary(std::string_view setting) {
    return setting.starts_with("default_transaction_") || setting.starts_with("transaction_");
}

struct Context {
    std::string_view text;
    std::uint16_t index;

    [[nodiscard]] Effect effect(Kind kind, std::string_view name = {}) const {
        return {kind, index, std::string{name}, {}};
    }
    [[nodiscard]] Effect end(Kind kind, const PgQuery__TransactionStmt& node) const {
        Effect effect = this->effect(kind);
        if (node.chain) effect.form = Form::chain;
        return effect;
    }
    [[nodiscard]] Effect replayed(Kind kind, std::string_view name = {}) const {
        return {kind, index, std::string{name}, std::string{text}};
    }
};

Part write(Reason reason, std::string detail) {
    Part part;
    part.reason = reason;
    part.detail = std::move(detail);
    return part;
}

// Session control that only the primary's connection may run.
Part session_control_on_primary(Effect effect) {
    Part part = write(Reason::session_control, effect.name);
    part.raises_floor = false;
    part.effects.push_back(std::move(effect));
    return part;
}

Part session_control(Effect effect) {
    Part part = session_control_on_primary(std::move(effect));
    part.access = Access::session_control;
    return part;
}

// On a replica it does what it does on the primary, where it can be repeated.
Part stays(Part part) {
    part.in_transaction = InTransaction::stays;
    return part;
}

// transaction_mode_list of the grammar. A constant that follows a keyword: READ ONLY is 1, an
// isolation level its name.
TransactionModes modes_of(PgQuery__Node** options, std::size_t count) {
    TransactionModes modes;
    for (std::size_t i = 0; i < count; ++i) {
        const auto* option = as<PgQuery__DefElem>(options[i]);
        const auto* value = option != nullptr ? constant(option->arg) : nullptr;
        if (value == nullptr) continue;
        const std::string_view name{option->defname};
        if (name == "transaction_read_only" && value->val_case == PG_QUERY__A__CONST__VAL_IVAL)
            modes.read_only = value->ival->ival != 0;
        if (name == "transaction_isolation" && value->val_case == PG_QUERY__A__CONST__VAL_SVAL)
            modes.isolation = parse_isolation(value->sval->sval);
    }
    return modes;
}

Part begin(const PgQuery__TransactionStmt& node, const Context& context) {
    Part part = write(Reason::transaction_control, "BEGIN");
    const bool says_start = node.kind == PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START;
    Effect effect = context.replayed(Kind::begin);
    if (says_start) effect.form = Form::start;
    effect.modes = modes_of(node.options, node.n_options);
    const bool read_only = effect.modes.read_only.value_or(false);
    const bool serializable = effect.modes.isolation == Isolation::serializable;
    part.effects.push_back(std::move(effect));
    if (serializable) part.detail = "BEGIN SERIALIZABLE";  // standbys refuse it
    part.begins_read_only = read_only && !serializable;
    part.fits_read_only_transaction = part.begins_read_only;
    part.access = Access::begin;
    return part;
}

Part end(Effect effect, std::string_view verb) {
    Part part = write(Reason::transaction_control, std::string{verb});
    part.fits_read_only_transaction = true;
    part.in_transaction = InTransaction::stays;
    part.effects.push_back(std::move(effect));
    return part;
}

Part transaction(const Message* message, const Context& context) {
    const auto& node = *as<PgQuery__TransactionStmt>(message);
    switch (node.kind) {
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
            return begin(node, context);
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
            return end(context.end(Kind::commit, node), "COMMIT");
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK: {
            Part part = end(context.end(Kind::rollback, node), "ROLLBACK");
            part.raises_floor = false;  // nothing became visible by it
            return part;
        }
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
            return end(context.replayed(Kind::savepoint, node.savepoint_name), "SAVEPOINT");
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
            return end(context.effect(Kind::release, node.savepoint_name), "RELEASE");
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
            return end(context.effect(Kind::rollback_to, node.savepoint_name), "ROLLBACK TO");
        case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE: {
            Part part = write(Reason::transaction_control, "PREPARE TRANSACTION");
            part.effects.push_back(context.effect(Kind::commit));
            part.effects.back().form = Form::prepare;
            return part;
        }
        default:
            return write(Reason::transaction_control, "COMMIT or ROLLBACK PREPARED");
    }
}

bool starts_with_pg_temp(const PgQuery__VariableSetStmt& node) {
    const char* first = node.n_args > 0 ? constant_string(node.args[0]) : nullptr;
    return first != nullptr && lower(first).starts_with("pg_temp");
}

// The one value of SET name = value, as the server will take it; empty: DEFAULT.
std::string value_text(const PgQuery__VariableSetStmt& node) {
    const auto* value = node.n_args == 1 ? constant(node.args[0]) : nullptr;
    if (value == nullptr) return {};
    switch (value->val_case) {
        case PG_QUERY__A__CONST__VAL_SVAL:
            return value->sval->sval;
        case PG_QUERY__A__CONST__VAL_IVAL:
            return std::to_string(value->ival->ival);
        case PG_QUERY__A__CONST__VAL_FVAL:
            return value->fval->fval;
        case PG_QUERY__A__CONST__VAL_BOOLVAL:
            return value->boolval->boolval ? "on" : "off";
        default:
            return {};
    }
}

// What SET default_transaction_... TO `value` says of the transactions to come.
TransactionModes default_modes(std::string_view name, const std::string& value) {
    TransactionModes modes;
    if (name == "default_transaction_isolation") modes.isolation = parse_isolation(value);
    if (name == "default_transaction_read_only") modes.read_only = parse_bool(value);
    return modes;
}

// Objects made from here on may be temporary ones.
void add_temporary(const Context& context, Part& part) {
    part.effects.push_back(context.effect(Kind::create_temporary));
    part.in_transaction = InTransaction::leaves;
}

// SET search_path TO a, "B": as PostgreSQL would show it. Empty: DEFAULT, or not known.
std::string schemas_in(const PgQuery__VariableSetStmt& node) {
    std::string value;
    for (std::size_t i = 0; i < node.n_args; ++i) {
        const char* schema = constant_string(node.args[i]);
        if (schema == nullptr) return {};
        value.append(i > 0 ? ", " : "").append(quote_identifier(schema));
    }
    return value;
}

Part set_variable(const PgQuery__VariableSetStmt& node, const Context& context) {
    const std::string name = lower(node.name);
    if (name == "seed")
        return session_control_on_primary(context.effect(Kind::backend_state, name));
    if (belongs_to_primary(name)) {
        const Kind kind = node.is_local ? Kind::set_transaction : Kind::set_on_primary;
        Effect effect = context.effect(kind, name);
        effect.modes = default_modes(name, value_text(node));
        return session_control_on_primary(std::move(effect));
    }
    if (node.is_local)
        return stays(session_control_on_primary(context.replayed(Kind::set_local, name)));
    Effect effect = context.replayed(Kind::set, name);
    if (name.starts_with(kOptionPrefix)) effect.value = value_text(node);
    Part part = stays(session_control(std::move(effect)));
    if (name == "search_path") part.effects.back().value = schemas_in(node);
    // Objects made without a schema will be temporary ones.
    if (name == "search_path" && starts_with_pg_temp(node)) add_temporary(context, part);
    return part;
}

// SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT.
Part set_modes(const PgQuery__VariableSetStmt& node,
               std::string_view name,
               const Context& context) {
    const auto form = name == "transaction snapshot" ? Form::plain : Form::modes;
    const bool for_session = name == "session characteristics";
    Effect effect = for_session ? context.effect(Kind::set_on_primary, name)
                                : context.replayed(Kind::set_transaction, name);
    effect.modes = modes_of(node.args, node.n_args);
    effect.form = form;
    return session_control_on_primary(std::move(effect));
}

Part set(const Message* message, const Context& context) {
    const auto& node = *as<PgQuery__VariableSetStmt>(message);
    const std::string name = lower(node.name);
    switch (node.kind) {
        case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE:
        case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
            return set_variable(node, context);
        case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI:
            return set_modes(node, name, context);
        case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
            if (belongs_to_primary(name))
                return session_control_on_primary(context.effect(Kind::set_on_primary, name));
            return stays(session_control(context.replayed(Kind::reset, name)));
        case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
            return stays(session_control(context.replayed(Kind::reset_all)));
        default:
            return write(Reason::session_control, "SET FROM CURRENT");
    }
}

Part discard(const Message* message, const Context& context) {
    switch (as<PgQuery__DiscardStmt>(message)->target) {
        case PG_QUERY__DISCARD_MODE__DISCARD_ALL:
            return session_control_on_primary(context.effect(Kind::discard_all));
        case PG_QUERY__DISCARD_MODE__DISCARD_TEMP:
            return session_control_on_primary(context.effect(Kind::discard_temporary));
        default: {
            Part part = write(Reason::session_control, "DISCARD");
            part.raises_floor = false;
            return part;
        }
    }
}

Part deallocate(const Message* message, const Context& context) {
    const std::string_view name = as<PgQuery__DeallocateStmt>(message)->name;
    if (name.empty()) return session_control(context.effect(Kind::deallocate_all));
    return session_control(context.effect(Kind::deallocate, name));
}

Part close(const Message* message, const Context& context) {
    const std::string_view name = as<PgQuery__ClosePortalStmt>(message)->portalname;
    Part part = session_control(name.empty() ? context.effect(Kind::close_all)
                                             : context.effect(Kind::close, name));
    part.uses_cursor = true;
    part.in_transaction = InTransaction::ties;
    return part;
}

// LISTEN is only possible on the primary, so that is where it ends.
Part unlisten(const Message* message, const Context& context) {
    const std::string_view name = as<PgQuery__UnlistenStmt>(message)->conditionname;
    return session_control_on_primary(name.empty() ? context.effect(Kind::unlisten_all)
                                                   : context.effect(Kind::unlisten, name));
}

Part listen(const Message* message, const Context& context) {
    Part part = write(Reason::write, "LISTEN");
    part.effects.push_back(
        context.effect(Kind::listen, as<PgQuery__ListenStmt>(message)->conditionname));
    return part;
}

Part notify(const Message* message, const Context& context) {
    const auto& node = *as<PgQuery__NotifyStmt>(message);
    Part part = write(Reason::write, "NotifyStmt");
    part.effects.push_back(context.effect(Kind::notify, node.conditionname));
    return part;
}

// Kept and repeated like a statement of the protocol, if it is alone in its text: see classify().
Part prepare(const Message* message, const Context& context) {
    const auto& node = *as<PgQuery__PrepareStmt>(message);
    Part part = write(Reason::sql_prepare, node.name);
    part.effects.push_back(context.replayed(Kind::prepare, node.name));
    if (const Message* query = inside(node.query))
        part.prepares = std::make_shared<Part>(classify_part(query, context.text, 0));
    return part;
}

Shows shown(std::string_view name) {
    if (name == "pgsteer.lsn") return Shows::lsn;
    if (name == "pgsteer.last_route") return Shows::last_route;
    return name.starts_with("pgsteer.") ? Shows::option : Shows::nothing;
}

Part show(const Message* message, const Context&) {
    const char* name = as<PgQuery__VariableShowStmt>(message)->name;
    Part part = write(Reason::server_local, std::string{"SHOW "} + name);
    part.raises_floor = false;  // shows settings, not data
    part.shows = shown(name);
    if (part.shows == Shows::last_route) part.in_transaction = InTransaction::stays;
    return part;
}

Part read(const Message* message) {
    Part part;
    Reading reading = read_tree(message);
    const auto refuse = [&part](Finding& finding) {
        part.reason = finding.reason;
        part.detail = std::move(finding.detail);
        return part;
    };
    if (reading.obstacle) return refuse(*reading.obstacle);
    part.if_harmless = Access::read_only;
    part.fits_if_harmless = true;
    part.uses = std::move(reading.uses);
    part.in_transaction =
        reading.reads_transaction_time ? InTransaction::ties : InTransaction::stays;
    if (reading.unknown) return refuse(*reading.unknown);
    part.access = Access::read_only;
    part.reason = Reason::fresh_replica;
    part.fits_read_only_transaction = true;
    return part;
}

Part select(const Message* message, const Context&) { return read(message); }

Part declare(const Message* message, const Context& context) {
    const auto& node = *as<PgQuery__DeclareCursorStmt>(message);
    Part part = write(Reason::cursor, node.portalname);
    // One that outlives its transaction would keep the session to the replica.
    const bool holds = (node.options & kCursorHold) != 0;
    if (!holds && read(inside(node.query)).access == Access::read_only)
        part.in_transaction = InTransaction::ties;
    if (holds) part.effects.push_back(context.effect(Kind::declare_hold, node.portalname));
    return part;
}

Part fetch(const Message* message, const Context&) {
    Part part = write(Reason::cursor, as<PgQuery__FetchStmt>(message)->portalname);
    part.uses_cursor = true;
    part.in_transaction = InTransaction::ties;
    return part;
}

Part explain(const Message* message, const Context&) {
    const Message* query = inside(as<PgQuery__ExplainStmt>(message)->query);
    if (as<PgQuery__SelectStmt>(query) == nullptr) {  // with ANALYZE it may create a table
        Part part =
            write(Reason::write, query != nullptr ? query->descriptor->short_name : "EXPLAIN");
        part.catalog_change = CatalogChange::possible;
        return part;
    }
    return read(query);
}

// To a file or a program: the server writes it, even in a read-only transaction.
Part copy(const Message* message, const Context&) {
    const auto& node = *as<PgQuery__CopyStmt>(message);
    if (node.is_from) {
        Part part = write(Reason::write, "COPY FROM");
        part.copies_in = !node.is_program && node.filename[0] == '\0';
        return part;
    }
    if (node.is_program) return write(Reason::write, "COPY TO PROGRAM");
    if (node.filename[0] != '\0') return write(Reason::write, "COPY TO a file");
    if (node.relation != nullptr) return read(&node.relation->base);
    const Message* query = inside(node.query);
    if (as<PgQuery__SelectStmt>(query) == nullptr) return write(Reason::write, "COPY (a write)");
    return read(query);
}

bool is_constant(const PgQuery__Node* node) {
    if (constant(node) != nullptr || as<PgQuery__ParamRef>(node) != nullptr) return true;
    const auto* sign = as<PgQuery__AExpr>(node);  // or another operator, which may do anything
    return sign != nullptr && sign->lexpr == nullptr && sign->n_name == 1 &&
           (string_of(sign->name[0]) == "-" || string_of(sign->name[0]) == "+") &&
           constant(sign->rexpr) != nullptr;
}

// What it runs is known to whoever knows the session's prepared statements.
Part execute(const Message* message, const Context&) {
    const auto& node = *as<PgQuery__ExecuteStmt>(message);
    Part part = write(Reason::sql_prepare, node.name);
    if (std::all_of(node.params, node.params + node.n_params, is_constant))
        part.executes = node.name;
    return part;
}

Part constraints(const Message*, const Context&) {
    return write(Reason::transaction_control, "SET CONSTRAINTS");
}

// Changes its server process in ways that nobody knows.
Part load(const Message*, const Context& context) {
    Part part = write(Reason::write, "LOAD");
    part.effects.push_back(context.effect(Kind::backend_state, "LOAD"));
    return part;
}

using Handler = Part (*)(const Message*, const Context&);
struct Rule {
    const Descriptor* descriptor;
    Handler handler;
};

constexpr Rule kRules[] = {
    {&pg_query__select_stmt__descriptor, select},
    {&pg_query__transaction_stmt__descriptor, transaction},
    {&pg_query__variable_set_stmt__descriptor, set},
    {&pg_query__variable_show_stmt__descriptor, show},
    {&pg_query__explain_stmt__descriptor, explain},
    {&pg_query__copy_stmt__descriptor, copy},
    {&pg_query__discard_stmt__descriptor, discard},
    {&pg_query__deallocate_stmt__descriptor, deallocate},
    {&pg_query__prepare_stmt__descriptor, prepare},
    {&pg_query__execute_stmt__descriptor, execute},
    {&pg_query__declare_cursor_stmt__descriptor, declare},
    {&pg_query__fetch_stmt__descriptor, fetch},
    {&pg_query__close_portal_stmt__descriptor, close},
    {&pg_query__listen_stmt__descriptor, listen},
    {&pg_query__unlisten_stmt__descriptor, unlisten},
    {&pg_query__notify_stmt__descriptor, notify},
    {&pg_query__constraints_set_stmt__descriptor, constraints},
    {&pg_query__load_stmt__descriptor, load},
};

// SELECT list, and nothing behind it.
bool is_lone_list(const PgQuery__SelectStmt& select) {
    return select.n_target_list > 0 &&
           select.n_from_clause + select.n_group_clause + select.n_sort_clause +
                   select.n_values_lists + select.n_distinct_clause + select.n_window_clause +
                   select.n_locking_clause ==
               0 &&
           !select.where_clause && !select.having_clause && !select.limit_count &&
           !select.limit_offset && !select.with_clause && !select.into_clause && !select.larg &&
           !select.rarg;
}

const PgQuery__FuncCall* plain_call(const PgQuery__Node* node, std::string_view name) {
    const auto* call = as<PgQuery__FuncCall>(node);
    const bool is_plain = call != nullptr && call->over == nullptr && call->agg_filter == nullptr &&
                          call->n_agg_order == 0 && !call->agg_distinct && !call->func_variadic;
    return is_plain && builtin_name(*call) == name ? call : nullptr;
}

std::optional<bool> constant_bool(const PgQuery__Node* node) {
    const auto* value = constant(node);
    if (value == nullptr || value->val_case != PG_QUERY__A__CONST__VAL_BOOLVAL) return {};
    return value->boolval->boolval != 0;
}

// A constant that is the text in it: not one cast to a type that may change it.
const PgQuery__AConst* text_constant(const PgQuery__Node* node) {
    if (const auto* cast = as<PgQuery__TypeCast>(node)) {
        const auto* type = cast->type_name;
        const bool is_text = type != nullptr && type->n_names > 0 && type->n_typmods == 0 &&
                             type->n_array_bounds == 0 &&
                             (string_of(type->names[type->n_names - 1]) == "text" ||
                              string_of(type->names[type->n_names - 1]) == "varchar");
        if (!is_text) return nullptr;
    }
    return constant(node);
}

// SELECT of set_config() beside what reads settings, and constants: what drivers and tools begin
// with.
struct SettingsList {
    std::vector<const PgQuery__FuncCall*> calls;  // of set_config(), by column; else null
    bool is_local = true;                         // every server gives the same answer to the rest

    [[nodiscard]] std::optional<std::uint16_t> column_of(const PgQuery__FuncCall& call) const {
        const auto found = std::find(calls.begin(), calls.end(), &call);
        if (found == calls.end()) return std::nullopt;
        return static_cast<std::uint16_t>(found - calls.begin());
    }
};

SettingsList settings_list(const Message* statement) {
    const auto* select = as<PgQuery__SelectStmt>(statement);
    if (select == nullptr || !is_lone_list(*select)) return {};
    SettingsList list;
    for (std::size_t i = 0; i < select->n_target_list; ++i) {
        const auto* target = as<PgQuery__ResTarget>(select->target_list[i]);
        if (target == nullptr) return {};
        const auto* call = plain_call(target->val, "set_config");
        const auto* shown = plain_call(target->val, "current_setting");
        if (call == nullptr && shown == nullptr && !is_constant(target->val)) return {};
        if (call != nullptr && call->n_args != 3) return {};
        if (shown != nullptr) {
            const char* name = shown->n_args > 0 ? constant_string(shown->args[0]) : nullptr;
            if (name == nullptr || !is_session_setting(lower(name))) list.is_local = false;
        }
        list.calls.push_back(call);
    }
    return list;
}

std::string set_config_sql(const char* name, const PgQuery__AConst& value, bool local) {
    const bool is_string = value.val_case == PG_QUERY__A__CONST__VAL_SVAL;
    return "SELECT pg_catalog.set_config(" + quote_literal(name) + ", " +
           (is_string ? quote_literal(value.sval->sval) : "NULL") +
           (local ? ", true)" : ", false)");
}

bool takes_string_or_null(const PgQuery__AConst* value) {
    return value != nullptr && (value->isnull || value->val_case == PG_QUERY__A__CONST__VAL_SVAL);
}

// What a setting is set to in the row that the statement answers with. pg_temp may be among the
// schemas of a search_path.
Effect set_to_result(const std::string& name, std::uint16_t column, const Context& context) {
    Effect effect = context.effect(Kind::opaque_settings);
    if (belongs_to_primary(name) || name == "search_path") return effect;
    effect.name = name;
    effect.column = column;
    return effect;
}

// `value`: a string; null where the setting returns to its default.
Effect set_to_constant(const char* name,
                       const char* value,
                       std::string sql,
                       const Context& context) {
    const std::string folded = lower(name);
    if (folded == "seed") return context.effect(Kind::backend_state, folded);
    if (belongs_to_primary(folded)) {
        Effect effect = context.effect(Kind::set_on_primary, folded);
        effect.modes = default_modes(folded, value != nullptr ? value : "");
        return effect;
    }
    Effect effect = context.effect(Kind::set, folded);
    effect.sql = std::move(sql);
    if (folded.starts_with(kOptionPrefix) && value != nullptr) effect.value = value;
    if (folded == "search_path" && value != nullptr) {
        effect.value = value;
        if (effect.value.empty()) effect.value = "\"\"";  // no schema, which is not the default
    }
    return effect;
}

Effect set_config_effect(const PgQuery__FuncCall& call,
                         const SettingsList& list,
                         const Context& context) {
    if (call.n_args != 3) return context.effect(Kind::opaque_settings);
    const auto column = list.column_of(call);
    const char* name = constant_string(call.args[0]);
    const auto* value = text_constant(call.args[1]);
    const std::optional<bool> local = constant_bool(call.args[2]);
    const bool is_constant = column && name != nullptr && takes_string_or_null(value);
    std::string sql;
    if (is_constant)  // alone it is repeated in its own words
        sql = list.calls.size() == 1 ? std::string{context.text}
                                     : set_config_sql(name, *value, local.value_or(false));
    if (local == true) {
        Effect effect = context.effect(Kind::set_local, name != nullptr ? lower(name) : "");
        effect.sql = std::move(sql);
        const char* constant = constant_string(call.args[1]);
        if (belongs_to_primary(effect.name) && constant != nullptr)
            effect.modes = default_modes(effect.name, constant);
        return effect;
    }
    if (!column || name == nullptr || local != false) return context.effect(Kind::opaque_settings);
    if (!is_constant) return set_to_result(lower(name), *column, context);
    return set_to_constant(name, constant_string(call.args[1]), std::move(sql), context);
}

bool shadows_names(const PgQuery__FuncCall& call, const Effect& effect) {
    const char* value = call.n_args == 3 ? constant_string(call.args[1]) : nullptr;
    return effect.kind == Kind::set && effect.name == "search_path" && value != nullptr &&
           lower(value).find("pg_temp") != std::string::npos;
}

// The one name in WHERE name = '...' of a statement upon pg_settings; null: it says something else.
const char* setting_in_where(const PgQuery__Node* where) {
    const auto* comparison = as<PgQuery__AExpr>(where);
    if (comparison == nullptr || comparison->kind != PG_QUERY__A__EXPR__KIND__AEXPR_OP ||
        comparison->n_name != 1 || string_of(comparison->name[0]) != "=")
        return nullptr;
    const auto* column = as<PgQuery__ColumnRef>(comparison->lexpr);
    if (column == nullptr || column->n_fields == 0 ||
        string_of(column->fields[column->n_fields - 1]) != "name")
        return nullptr;
    return constant_string(comparison->rexpr);
}

bool is_pg_settings(const PgQuery__RangeVar* relation) {
    return relation != nullptr && std::string_view{relation->relname} == "pg_settings" &&
           (relation->schemaname[0] == '\0' ||
            std::string_view{relation->schemaname} == "pg_catalog");
}

// SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = '...': pg_dump's way to set
// what an older server does not have.
std::optional<Effect> set_if_known(const Message* statement,
                                   const PgQuery__FuncCall& call,
                                   const Context& context) {
    const auto* select = as<PgQuery__SelectStmt>(statement);
    if (select == nullptr || select->n_target_list != 1 || select->n_from_clause != 1 ||
        !is_pg_settings(as<PgQuery__RangeVar>(select->from_clause[0])) || select->with_clause ||
        select->larg || select->limit_count || select->limit_offset || select->into_clause ||
        select->n_group_clause + select->n_distinct_clause > 0)
        return std::nullopt;
    const auto* target = as<PgQuery__ResTarget>(select->target_list[0]);
    if (target == nullptr || plain_call(target->val, "set_config") != &call || call.n_args != 3 ||
        constant_bool(call.args[2]) != false)
        return std::nullopt;
    const auto* column = as<PgQuery__ColumnRef>(call.args[0]);
    const char* name = setting_in_where(select->where_clause);
    if (column == nullptr || column->n_fields != 1 || string_of(column->fields[0]) != "name" ||
        name == nullptr)
        return std::nullopt;
    Effect effect = set_to_result(lower(name), 0, context);
    effect.needs_row = !effect.name.empty();
    return effect;
}

// UPDATE pg_settings SET setting = '...' WHERE name = '...' is SET, by a rule of the view.
Effect update_of_settings(const PgQuery__UpdateStmt& update, const Context& context) {
    const char* name = setting_in_where(update.where_clause);
    const bool is_one = name != nullptr && is_pg_settings(update.relation) &&
                        update.n_target_list == 1 && update.n_from_clause == 0 &&
                        !update.with_clause;
    const auto* target = is_one ? as<PgQuery__ResTarget>(update.target_list[0]) : nullptr;
    const auto* value = target != nullptr ? text_constant(target->val) : nullptr;
    if (value == nullptr || std::string_view{target->name} != "setting" ||
        value->val_case != PG_QUERY__A__CONST__VAL_SVAL || SessionSettings::is_custom(name) ||
        lower(name) == "search_path")  // may be set or not
        return context.effect(Kind::opaque_settings);
    return set_to_constant(name, value->sval->sval, set_config_sql(name, *value, false), context);
}

void note_set_config(const Message* statement,
                     const PgQuery__FuncCall& call,
                     const SettingsList& list,
                     const Context& context,
                     Part& part) {
    auto if_known = set_if_known(statement, call, context);
    Effect effect = if_known ? std::move(*if_known) : set_config_effect(call, list, context);
    const bool shadows = shadows_names(call, effect);
    part.effects.push_back(std::move(effect));
    if (shadows) add_temporary(context, part);
}

// A list of settings is as good as SET if it says what they are set to: it touches no data.
void note_settings_list(const SettingsList& list, Part& part) {
    const bool sets = std::any_of(list.calls.begin(), list.calls.end(),
                                  [](const auto* call) { return call != nullptr; });
    if (!sets) return;
    const auto all = [&](auto is) {
        return std::all_of(part.effects.begin(), part.effects.end(), is);
    };
    const bool is_known = all([](const Effect& effect) {
        return effect.kind == Kind::set || effect.kind == Kind::set_on_primary ||
               effect.kind == Kind::create_temporary ||
               (effect.kind == Kind::set_local && !effect.sql.empty());
    });
    if (!is_known) return;
    part.reason = Reason::session_control;
    part.detail = part.effects.front().name;
    part.raises_floor = false;
    if (!list.is_local) return;
    if (all([](const Effect& effect) { return effect.kind == Kind::set; }))
        part.access = Access::session_control;
    if (all([](const Effect& effect) {
            return !belongs_to_primary(effect.name) && effect.kind != Kind::create_temporary;
        }))
        part.in_transaction = InTransaction::stays;
}

// A replication slot that may last as long as the connection: by its name alone a slot is not.
// Which argument says so is not asked, since a list of constants counts as one of two.
bool may_make_temporary_slot(const PgQuery__FuncCall& call, std::string_view function) {
    return call.n_args > 1 && (function == "pg_create_physical_replication_slot" ||
                               function == "pg_create_logical_replication_slot" ||
                               function == "pg_copy_physical_replication_slot" ||
                               function == "pg_copy_logical_replication_slot");
}

// CREATE ... pg_temp.x, where the schema may stand in any of a statement's names.
bool creates_objects(const Message* statement) {
    const std::string_view name{statement->descriptor->short_name};
    return name.starts_with("Create") || name.starts_with("Define") || name.starts_with("View") ||
           name.starts_with("CompositeType") || name.starts_with("Select");
}

void add(std::vector<Effect>& effects, Effect effect) {
    for (const Effect& known : effects)
        if (known.kind == effect.kind) return;
    effects.push_back(std::move(effect));
}

// A function of the database's own: what it may leave behind, its catalog knows.
void note_call(const PgQuery__FuncCall& call, std::string_view builtin, Part& part) {
    if (call.n_funcname == 0 || builtin_function(builtin).kind != BuiltinKind::unknown) return;
    const std::string_view schema =
        call.n_funcname > 1 ? string_of(call.funcname[call.n_funcname - 2]) : std::string_view{};
    part.uses.push_back(Uses::record(
        {Use::Kind::function, false, schema, string_of(call.funcname[call.n_funcname - 1])}));
}

// What is written to: triggers may leave something behind, as its catalog knows.
void note_written(const Message* message, Part& part) {
    const auto note = [&](const PgQuery__RangeVar* relation) {
        if (relation != nullptr)
            part.written.push_back(Uses::record(
                {Use::Kind::relation, false, relation->schemaname, relation->relname}));
    };
    if (const auto* insert = as<PgQuery__InsertStmt>(message)) note(insert->relation);
    if (const auto* update = as<PgQuery__UpdateStmt>(message)) note(update->relation);
    if (const auto* deletion = as<PgQuery__DeleteStmt>(message)) note(deletion->relation);
    if (const auto* merge = as<PgQuery__MergeStmt>(message)) note(merge->relation);
    if (const auto* copy = as<PgQuery__CopyStmt>(message); copy != nullptr && copy->is_from)
        note(copy->relation);
    if (const auto* truncate = as<PgQuery__TruncateStmt>(message))
        for (std::size_t i = 0; i < truncate->n_relations; ++i)
            note(as<PgQuery__RangeVar>(truncate->relations[i]));
}

// What may stand anywhere in a statement and outlives it.
void note_hidden_effects(const Message* statement, const Context& context, Part& part) {
    const bool creates = creates_objects(statement);
    const SettingsList list = settings_list(statement);
    walk(statement, [&](const Message* message) {
        note_written(message, part);
        if (const auto* call = as<PgQuery__FuncCall>(message)) {
            const std::string_view name = builtin_name(*call);
            if (name == "set_config") note_set_config(statement, *call, list, context, part);
            if (builtin_function(name).kind == BuiltinKind::state ||
                may_make_temporary_slot(*call, name))
                add(part.effects, context.effect(Kind::backend_state, name));
            if (!part.fits_if_harmless) note_call(*call, name, part);
            if (takes_session_lock(name)) add(part.effects, context.effect(Kind::lock));
            if (name == "pg_advisory_unlock_all")
                add(part.effects, context.effect(Kind::unlock_all));
        } else if (const auto* relation = as<PgQuery__RangeVar>(message)) {
            const bool temporary = relation->relpersistence[0] == 't';
            if (temporary || (creates && is_temporary_schema(relation->schemaname)))
                add(part.effects, context.effect(Kind::create_temporary));
        } else if (const auto* name = as<PgQuery__String>(message)) {
            if (creates && as<PgQuery__SelectStmt>(statement) == nullptr &&
                is_temporary_schema(name->sval))
                add(part.effects, context.effect(Kind::create_temporary));
        } else if (const auto* select = as<PgQuery__SelectStmt>(message)) {
            if (select->into_clause != nullptr) part.catalog_change = CatalogChange::possible;
        } else if (const auto* update = as<PgQuery__UpdateStmt>(message)) {  // calls set_config()
            if (update->relation && std::string_view{update->relation->relname} == "pg_settings")
                part.effects.push_back(update_of_settings(*update, context));
        }
        return true;
    });
    note_settings_list(list, part);
}

// What only handles data, or leaves no trace in what a Catalog holds.
bool leaves_the_catalog(std::string_view kind) {
    static constexpr std::string_view kKinds[] = {
        "InsertStmt",  "UpdateStmt",  "DeleteStmt",   "MergeStmt",      "TruncateStmt",
        "LockStmt",    "NotifyStmt",  "VacuumStmt",   "CheckPointStmt", "ClusterStmt",
        "ReindexStmt", "CommentStmt", "SecLabelStmt", "IndexStmt",      "RefreshMatViewStmt",
    };
    return std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds);
}

void note_catalog_change(const Message* statement, Part& part) {
    const std::string_view kind{statement->descriptor->short_name};
    const bool is_temporary =
        std::any_of(part.effects.begin(), part.effects.end(),
                    [](const Effect& effect) { return effect.kind == Kind::create_temporary; });
    if (leaves_the_catalog(kind) || is_temporary) return;
    part.catalog_change =
        kind == "CallStmt" || kind == "DoStmt" ? CatalogChange::possible : CatalogChange::certain;
}

// DO: what its text may keep, what it calls, and what it writes to.
void note_block(const Message* statement, const Context& context, Part& part) {
    const auto* block = as<PgQuery__DoStmt>(statement);
    if (block == nullptr) return;
    for (std::size_t i = 0; i < block->n_args; ++i) {
        const auto* option = as<PgQuery__DefElem>(block->args[i]);
        const auto* body = option != nullptr ? as<PgQuery__String>(option->arg) : nullptr;
        if (body == nullptr || std::string_view{option->defname} != "as") continue;
        const auto facts = read_body(body->sval);
        if (facts.keeps == Kept::What::names)
            part.effects.push_back(context.effect(Kind::set_local));
        if (facts.keeps == Kept::What::settings)
            part.effects.push_back(context.effect(Kind::opaque_settings));
        if (facts.keeps == Kept::What::state)
            part.effects.push_back(context.effect(Kind::backend_state, "DO"));
        for (const auto& [schema, name] : facts.calls)
            part.uses.push_back(Uses::record({Use::Kind::function, false, schema, name}));
        for (const auto& [schema, name] : facts.writes)
            part.written.push_back(Uses::record({Use::Kind::relation, false, schema, name}));
    }
}

void note_database_effects(const Message* statement, const Context& context, Part& part) {
    if (const auto database = emptied_database(statement); !database.empty())
        part.effects.push_back(context.effect(Kind::empties_database, database));
    if (changes_logins(statement)) part.effects.push_back(context.effect(Kind::changes_logins));
}

}  // namespace

namespace {

std::string name_used(const Message* statement) {
    if (const auto* execute = as<PgQuery__ExecuteStmt>(statement)) return execute->name;
    if (const auto* explain = as<PgQuery__ExplainStmt>(statement))
        return name_used(inside(explain->query));
    if (const auto* create = as<PgQuery__CreateTableAsStmt>(statement))
        return name_used(inside(create->query));
    return {};
}

Part classify_one(const Message* statement, const Context& context) {
    for (const Rule& rule : kRules) {
        if (rule.descriptor != statement->descriptor) continue;
        Part part = rule.handler(statement, context);
        if (part.access == Access::write) note_hidden_effects(statement, context, part);
        if (!part.fits_if_harmless) {  // a catalog has no say in it
            part.if_harmless = part.access;
            part.fits_if_harmless = part.fits_read_only_transaction;
        }
        return part;
    }
    Part part = write(Reason::write, statement->descriptor->short_name);
    note_hidden_effects(statement, context, part);
    note_catalog_change(statement, part);
    note_block(statement, context, part);
    note_database_effects(statement, context, part);
    return part;
}

}  // namespace

Part classify_part(const Message* statement, std::string_view text, std::uint16_t index) {
    const Context context{text, index};
    Part part = classify_one(statement, context);
    part.name_used = name_used(statement);
    return part;
}

}  // namespace pgsteer::routing
