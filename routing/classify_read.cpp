#include "routing/classify_read.hpp"

#include "routing/builtins.hpp"

#include <algorithm>
#include <unordered_map>

namespace pgsteer::routing {
namespace {

using Verdict = std::optional<Finding>;

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

std::string lower(std::string_view text) {
    std::string result{text};
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return result;
}

Verdict operators(PgQuery__Node** parts, std::size_t count) {
    if (count == 0 || is_builtin_operator(in_catalog(parts, count))) return {};
    return Finding{Reason::unknown_operator, spelled(parts, count)};
}

Verdict any(const Message*) { return {}; }

Verdict select(const Message* message) {
    const auto* node = as<PgQuery__SelectStmt>(message);
    if (node->into_clause != nullptr) return Finding{Reason::write, "INTO"};
    if (node->n_locking_clause > 0) return Finding{Reason::write, "row locks"};
    return {};
}

Verdict call(const Message* message) {
    const auto* node = as<PgQuery__FuncCall>(message);
    const std::string_view name = builtin_name(*node);
    const Builtin builtin = builtin_function(name);
    if (builtin.kind == BuiltinKind::harmless) return {};
    if (name == "current_setting" && node->n_args > 0) {
        const char* setting = constant_string(node->args[0]);
        if (setting != nullptr && is_session_setting(lower(setting))) return {};
    }
    std::string detail = spelled(node->funcname, node->n_funcname);
    if (!builtin.why.empty()) detail.append(" (").append(builtin.why).append(")");
    switch (builtin.kind) {
        case BuiltinKind::effect:
            return Finding{Reason::effect_function, std::move(detail)};
        case BuiltinKind::server_local:
            return Finding{Reason::server_local, std::move(detail)};
        default:
            return Finding{Reason::unknown_function, std::move(detail)};
    }
}

// BETWEEN has its own spelling as a name and runs >= and <=.
Verdict expression(const Message* message) {
    const auto* node = as<PgQuery__AExpr>(message);
    switch (node->kind) {
        case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
        case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
        case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
        case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
            return {};
        default:
            return operators(node->name, node->n_name);
    }
}

Verdict sublink(const Message* message) {
    const auto* node = as<PgQuery__SubLink>(message);
    return operators(node->oper_name, node->n_oper_name);
}

Verdict sort(const Message* message) {
    const auto* node = as<PgQuery__SortBy>(message);
    return operators(node->use_op, node->n_use_op);
}

// A value of the type goes through its input and output functions.
Verdict type(const Message* message) {
    const auto* node = as<PgQuery__TypeName>(message);
    if (node->n_names == 0 || is_builtin_type(in_catalog(node->names, node->n_names))) return {};
    if (node->n_names == 2 && string_of(node->names[0]) == "information_schema") return {};
    return Finding{Reason::unknown_function, "type " + spelled(node->names, node->n_names)};
}

Verdict relation(const Message* message) {
    const auto* node = as<PgQuery__RangeVar>(message);
    if (is_temporary_schema(node->schemaname))
        return Finding{Reason::temporary_object,
                       std::string{node->schemaname} + "." + node->relname};
    if (is_server_local_relation(node->relname))
        return Finding{Reason::server_local, node->relname};
    return {};
}

// The columns of a sequence read as a table: a standby may show a value ahead of the primary's.
Verdict column(const Message* message) {
    const auto* node = as<PgQuery__ColumnRef>(message);
    if (node->n_fields == 0) return {};
    const std::string_view name = string_of(node->fields[node->n_fields - 1]);
    if (name == "last_value" || name == "log_cnt" || name == "is_called")
        return Finding{Reason::server_local, "column " + std::string{name}};
    return {};
}

Verdict sample(const Message* message) {
    const auto* node = as<PgQuery__RangeTableSample>(message);
    const std::string_view method = in_catalog(node->method, node->n_method);
    if (method == "system" || method == "bernoulli") return {};
    return Finding{Reason::unknown_function, spelled(node->method, node->n_method)};
}

using Check = Verdict (*)(const Message*);

const std::unordered_map<const Descriptor*, Check>& reviewed() {
    static const std::unordered_map<const Descriptor*, Check> kReviewed{
        {&pg_query__a__array_expr__descriptor, any},
        {&pg_query__a__const__descriptor, any},
        {&pg_query__a__expr__descriptor, expression},
        {&pg_query__a__indices__descriptor, any},
        {&pg_query__a__indirection__descriptor, any},
        {&pg_query__a__star__descriptor, any},
        {&pg_query__alias__descriptor, any},
        {&pg_query__bit_string__descriptor, any},
        {&pg_query__bool_expr__descriptor, any},
        {&pg_query__boolean__descriptor, any},
        {&pg_query__boolean_test__descriptor, any},
        {&pg_query__case_expr__descriptor, any},
        {&pg_query__case_when__descriptor, any},
        {&pg_query__coalesce_expr__descriptor, any},
        {&pg_query__collate_clause__descriptor, any},
        {&pg_query__column_def__descriptor, any},
        {&pg_query__column_ref__descriptor, column},
        {&pg_query__common_table_expr__descriptor, any},
        {&pg_query__ctecycle_clause__descriptor, any},
        {&pg_query__ctesearch_clause__descriptor, any},
        {&pg_query__float__descriptor, any},
        {&pg_query__func_call__descriptor, call},
        {&pg_query__grouping_func__descriptor, any},
        {&pg_query__grouping_set__descriptor, any},
        {&pg_query__integer__descriptor, any},
        {&pg_query__join_expr__descriptor, any},
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
        {&pg_query__sqlvalue_function__descriptor, any},
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

Verdict check(const Message* message) {
    if (message->descriptor == &pg_query__node__descriptor) {
        if (inside(reinterpret_cast<const PgQuery__Node*>(message)) != nullptr) return {};
        return Finding{Reason::write, "unknown syntax"};
    }
    const auto rule = reviewed().find(message->descriptor);
    if (rule == reviewed().end()) return Finding{Reason::write, message->descriptor->short_name};
    return rule->second(message);
}

}  // namespace

std::optional<Finding> why_not_a_read(const Message* root) {
    std::optional<Finding> finding;
    walk(root, [&](const Message* message) {
        if (!finding) finding = check(message);
        return !finding;
    });
    return finding;
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
