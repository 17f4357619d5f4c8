#include "routing/classify_read.hpp"

#include "routing/builtins.hpp"
#include "routing/lower.hpp"

#include <algorithm>
#include <unordered_map>

namespace pgsteer::routing {
namespace {

// The parts of a qualified name joined by dots, for explain.
std::string spelled(PgQuery__Node** parts, std::size_t count) {
    std::string name;
    for (std::size_t i = 0; i < count; ++i) {
        if (i > 0) name += '.';
        name += string_of(parts[i]);
    }
    return name;
}

// The name itself if it is unqualified or in pg_catalog, else empty.
std::string_view in_catalog(PgQuery__Node** parts, std::size_t count) {
    if (count == 1) return string_of(parts[0]);
    if (count == 2 && string_of(parts[0]) == "pg_catalog") return string_of(parts[1]);
    return {};
}

void stop(Reading& reading, Reason reason, std::string detail) {
    if (!reading.obstacle) reading.obstacle = Finding{reason, std::move(detail)};
}

// An unqualified name, or one of a schema that a catalog knows.
bool can_be_judged(PgQuery__Node** parts, std::size_t count) {
    if (count == 1) return true;
    if (count != 2) return false;
    const std::string_view schema = string_of(parts[0]);
    return schema != "pg_catalog" && !is_temporary_schema(schema);
}

void use(
    Reading& reading, Use::Kind kind, PgQuery__Node** parts, std::size_t count, bool is_builtin) {
    const std::string_view schema = count > 1 ? string_of(parts[count - 2]) : std::string_view{};
    reading.uses.push_back(Uses::record({kind, is_builtin, schema, string_of(parts[count - 1])}));
}

// A name that is no built-in: for a catalog, if it may be there at all.
void use_unknown(
    Reading& reading, Use::Kind kind, PgQuery__Node** parts, std::size_t count, Finding finding) {
    if (!can_be_judged(parts, count))
        return stop(reading, finding.reason, std::move(finding.detail));
    use(reading, kind, parts, count, false);
    if (!reading.unknown) reading.unknown = std::move(finding);
}

// One that the grammar implies.
void use_operator(Reading& reading, std::string_view name) {
    reading.uses.push_back(Uses::record({Use::Kind::op, true, {}, name}));
}

void operators(Reading& reading, PgQuery__Node** parts, std::size_t count) {
    if (count == 0) return;
    if (is_builtin_operator(in_catalog(parts, count)))
        return use(reading, Use::Kind::op, parts, count, true);
    use_unknown(reading, Use::Kind::op, parts, count,
                {Reason::unknown_operator, spelled(parts, count)});
}

void any(const Message*, Reading&) {}

void select(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__SelectStmt>(message);
    if (node->into_clause != nullptr) stop(reading, Reason::write, "INTO");
    if (node->n_locking_clause > 0) stop(reading, Reason::write, "row locks");
}

bool is_harmless(const PgQuery__FuncCall& node, std::string_view name, const Builtin& builtin) {
    if (builtin.kind == BuiltinKind::harmless) return true;
    if (name != "current_setting" || node.n_args == 0) return false;
    const char* setting = constant_string(node.args[0]);
    return setting != nullptr && is_session_setting(lower(setting));
}

// Functions whose result is the same all through a transaction, and another in the next.
bool tells_transaction_time(std::string_view name, std::size_t arguments) {
    return name == "now" || name == "transaction_timestamp" || (name == "age" && arguments == 1);
}

void sql_value(const Message* message, Reading& reading) {
    switch (as<PgQuery__SQLValueFunction>(message)->op) {
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_ROLE:
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_USER:
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_USER:
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_SESSION_USER:
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_CATALOG:
        case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_SCHEMA:
            return;
        default:
            reading.reads_transaction_time = true;
    }
}

void call(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__FuncCall>(message);
    const std::string_view name = builtin_name(*node);
    if (tells_transaction_time(name, node->n_args)) reading.reads_transaction_time = true;
    const Builtin builtin = builtin_function(name);
    if (is_harmless(*node, name, builtin))
        return use(reading, Use::Kind::function, node->funcname, node->n_funcname, true);
    std::string detail = spelled(node->funcname, node->n_funcname);
    if (!builtin.why.empty()) detail.append(" (").append(builtin.why).append(")");
    switch (builtin.kind) {
        case BuiltinKind::effect:
            return stop(reading, Reason::effect_function, std::move(detail));
        case BuiltinKind::state:
            return stop(reading, Reason::backend_state, std::move(detail));
        case BuiltinKind::server_local:
            return stop(reading, Reason::server_local, std::move(detail));
        default:
            return use_unknown(reading, Use::Kind::function, node->funcname, node->n_funcname,
                               {Reason::unknown_function, std::move(detail)});
    }
}

// BETWEEN has its own spelling as a name and runs these.
void expression(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__AExpr>(message);
    switch (node->kind) {
        case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
        case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
        case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
        case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
            for (const std::string_view name : {"<", "<=", ">", ">="}) use_operator(reading, name);
            return;
        default:
            return operators(reading, node->name, node->n_name);
    }
}

void sublink(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__SubLink>(message);
    if (node->n_oper_name == 0) return use_operator(reading, "=");  // IN
    operators(reading, node->oper_name, node->n_oper_name);
}

void sort(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__SortBy>(message);
    operators(reading, node->use_op, node->n_use_op);
}

void join(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__JoinExpr>(message);
    if (node->is_natural || node->n_using_clause > 0) use_operator(reading, "=");
}

void case_of(const Message* message, Reading& reading) {
    if (as<PgQuery__CaseExpr>(message)->arg != nullptr) use_operator(reading, "=");
}

// A value of the type goes through its input and output functions. Those of another type that hides
// a built-in's name are the catalog's concern as a whole (Catalog::obstacle).
void type(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__TypeName>(message);
    if (node->n_names == 0 || is_builtin_type(in_catalog(node->names, node->n_names))) return;
    if (node->n_names == 2 && string_of(node->names[0]) == "information_schema") return;
    use_unknown(reading, Use::Kind::type, node->names, node->n_names,
                {Reason::unknown_function, "type " + spelled(node->names, node->n_names)});
}

void relation(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__RangeVar>(message);
    if (is_temporary_schema(node->schemaname))
        return stop(reading, Reason::temporary_object,
                    std::string{node->schemaname} + "." + node->relname);
    if (is_server_local_relation(node->relname))
        return stop(reading, Reason::server_local, node->relname);
    reading.uses.push_back(
        Uses::record({Use::Kind::relation, false, node->schemaname, node->relname}));
}

void with_query(const Message* message, Reading& reading) {
    reading.with_uses.insert(Uses::record(
        {Use::Kind::relation, false, {}, as<PgQuery__CommonTableExpr>(message)->ctename}));
}

// `t.f` may call a function f of the row t.
void use_fields(Reading& reading, PgQuery__Node** fields, std::size_t count, std::size_t first) {
    for (std::size_t i = first; i < count; ++i) {
        const auto* name = as<PgQuery__String>(fields[i]);
        if (name != nullptr)
            reading.uses.push_back(Uses::record({Use::Kind::field, true, {}, name->sval}));
    }
}

// The columns of a sequence read as a table: a standby may show a value ahead of the primary's.
// SYSTEM_USER has its own syntax since PostgreSQL 16; the grammar of 15 takes it for a column.
void column(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__ColumnRef>(message);
    if (node->n_fields == 0) return;
    const std::string_view name = string_of(node->fields[node->n_fields - 1]);
    if (node->n_fields == 1 && name == "system_user")
        return stop(reading, Reason::server_local, "SYSTEM_USER (backend and connection)");
    if (name == "last_value" || name == "log_cnt" || name == "is_called")
        return stop(reading, Reason::server_local, "column " + std::string{name});
    use_fields(reading, node->fields, node->n_fields, 1);
}

void indirection(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__AIndirection>(message);
    use_fields(reading, node->indirection, node->n_indirection, 0);
}

void sample(const Message* message, Reading& reading) {
    const auto* node = as<PgQuery__RangeTableSample>(message);
    const std::string_view method = in_catalog(node->method, node->n_method);
    const Use::Kind kind = Use::Kind::function;
    if (method == "system" || method == "bernoulli")
        return use(reading, kind, node->method, node->n_method, true);
    use_unknown(reading, kind, node->method, node->n_method,
                {Reason::unknown_function, spelled(node->method, node->n_method)});
}

using Check = void (*)(const Message*, Reading&);

const std::unordered_map<const Descriptor*, Check>& reviewed() {
    static const std::unordered_map<const Descriptor*, Check> kReviewed{
        {&pg_query__a__array_expr__descriptor, any},
        {&pg_query__a__const__descriptor, any},
        {&pg_query__a__expr__descriptor, expression},
        {&pg_query__a__indices__descriptor, any},
        {&pg_query__a__indirection__descriptor, indirection},
        {&pg_query__a__star__descriptor, any},
        {&pg_query__alias__descriptor, any},
        {&pg_query__bit_string__descriptor, any},
        {&pg_query__bool_expr__descriptor, any},
        {&pg_query__boolean__descriptor, any},
        {&pg_query__boolean_test__descriptor, any},
        {&pg_query__case_expr__descriptor, case_of},
        {&pg_query__case_when__descriptor, any},
        {&pg_query__coalesce_expr__descriptor, any},
        {&pg_query__collate_clause__descriptor, any},
        {&pg_query__column_def__descriptor, any},
        {&pg_query__column_ref__descriptor, column},
        {&pg_query__common_table_expr__descriptor, with_query},
        {&pg_query__ctecycle_clause__descriptor, any},
        {&pg_query__ctesearch_clause__descriptor, any},
        {&pg_query__float__descriptor, any},
        {&pg_query__func_call__descriptor, call},
        {&pg_query__grouping_func__descriptor, any},
        {&pg_query__grouping_set__descriptor, any},
        {&pg_query__integer__descriptor, any},
        {&pg_query__join_expr__descriptor, join},
        {&pg_query__list__descriptor, any},
        {&pg_query__min_max_expr__descriptor, any},
        {&pg_query__named_arg_expr__descriptor, any},
        {&pg_query__null_test__descriptor, any},
        {&pg_query__param_ref__descriptor, any},
        {&pg_query__range_function__descriptor, any},
        {&pg_query__range_subselect__descriptor, any},
        {&pg_query__range_table_func__descriptor, any},
        {&pg_query__range_table_func_col__descriptor, any},
        {&pg_query__range_table_sample__descriptor, sample},
        {&pg_query__range_var__descriptor, relation},
        {&pg_query__res_target__descriptor, any},
        {&pg_query__row_expr__descriptor, any},
        {&pg_query__select_stmt__descriptor, select},
        {&pg_query__set_to_default__descriptor, any},
        {&pg_query__sort_by__descriptor, sort},
        {&pg_query__sqlvalue_function__descriptor, sql_value},
        {&pg_query__string__descriptor, any},
        {&pg_query__sub_link__descriptor, sublink},
        {&pg_query__type_cast__descriptor, any},
        {&pg_query__type_name__descriptor, type},
        {&pg_query__window_def__descriptor, any},
        {&pg_query__with_clause__descriptor, any},
        {&pg_query__xml_expr__descriptor, any},
        {&pg_query__xml_serialize__descriptor, any},
    };
    return kReviewed;
}

void check(const Message* message, Reading& reading) {
    if (message->descriptor == &pg_query__node__descriptor) {
        if (inside(reinterpret_cast<const PgQuery__Node*>(message)) == nullptr)
            stop(reading, Reason::write, "unknown syntax");
        return;
    }
    const auto rule = reviewed().find(message->descriptor);
    if (rule == reviewed().end())
        return stop(reading, Reason::write, message->descriptor->short_name);
    rule->second(message, reading);
}

}  // namespace

Reading read_tree(const Message* root) {
    Reading reading;
    walk(root, [&](const Message* message) {
        if (!reading.obstacle) check(message, reading);
        return !reading.obstacle;
    });
    if (reading.with_uses.empty()) return reading;
    for (auto& use : reading.uses)
        if (reading.with_uses.contains(use)) use = Uses::as_builtin(std::move(use));
    return reading;
}

std::string_view builtin_name(const PgQuery__FuncCall& call) {
    return in_catalog(call.funcname, call.n_funcname);
}

bool is_temporary_schema(std::string_view schema) {
    return schema == "pg_temp" || schema.starts_with("pg_temp_") ||
           schema.starts_with("pg_toast_temp");
}

const PgQuery__AConst* constant(const PgQuery__Node* node) {
    if (const auto* cast = as<PgQuery__TypeCast>(node)) return as<PgQuery__AConst>(cast->arg);
    return as<PgQuery__AConst>(node);
}

const char* constant_string(const PgQuery__Node* node) {
    const auto* value = constant(node);
    if (value == nullptr || value->val_case != PG_QUERY__A__CONST__VAL_SVAL) return nullptr;
    return value->sval->sval;
}

}  // namespace pgsteer::routing
