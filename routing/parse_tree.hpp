// libpg_query's parse tree, and a walk over it that cannot overlook a node: it goes by protobuf
// descriptors, into every message there is. Included only by classify*.cpp.
#pragma once

#include "routing/canonical.hpp"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <memory>
#include <string_view>
#include <vector>

namespace pgsteer::routing {

using Message = ProtobufCMessage;
using Descriptor = ProtobufCMessageDescriptor;

struct ParseTree {
    struct Free {
        void operator()(PgQuery__ParseResult* tree) const {
            pg_query__parse_result__free_unpacked(tree, nullptr);
        }
    };
    std::unique_ptr<PgQuery__ParseResult, Free> root;  // null: `error` says why
    std::string error;
};

// `text` without zero bytes. Uses stack in proportion to the depth of the tree.
ParseTree parse(const std::string& text);

// The message in a Node's oneof; null if there is none.
const Message* inside(const PgQuery__Node* node);

// `message` as T if that is what it is. T's descriptor is looked up by overload.
#define PGSTEER_NODE(Type, descriptor_name)                                                \
    inline const Type* as(const Message* message, const Type*) {                           \
        if (message == nullptr || message->descriptor != &descriptor_name) return nullptr; \
        return reinterpret_cast<const Type*>(message);                                     \
    }
PGSTEER_NODE(PgQuery__SelectStmt, pg_query__select_stmt__descriptor)
PGSTEER_NODE(PgQuery__FuncCall, pg_query__func_call__descriptor)
PGSTEER_NODE(PgQuery__AExpr, pg_query__a__expr__descriptor)
PGSTEER_NODE(PgQuery__SubLink, pg_query__sub_link__descriptor)
PGSTEER_NODE(PgQuery__SortBy, pg_query__sort_by__descriptor)
PGSTEER_NODE(PgQuery__TypeName, pg_query__type_name__descriptor)
PGSTEER_NODE(PgQuery__TypeCast, pg_query__type_cast__descriptor)
PGSTEER_NODE(PgQuery__RangeVar, pg_query__range_var__descriptor)
PGSTEER_NODE(PgQuery__CommonTableExpr, pg_query__common_table_expr__descriptor)
PGSTEER_NODE(PgQuery__ColumnRef, pg_query__column_ref__descriptor)
PGSTEER_NODE(PgQuery__RangeTableSample, pg_query__range_table_sample__descriptor)
PGSTEER_NODE(PgQuery__AConst, pg_query__a__const__descriptor)
PGSTEER_NODE(PgQuery__String, pg_query__string__descriptor)
PGSTEER_NODE(PgQuery__ParamRef, pg_query__param_ref__descriptor)
PGSTEER_NODE(PgQuery__List, pg_query__list__descriptor)
PGSTEER_NODE(PgQuery__ResTarget, pg_query__res_target__descriptor)
PGSTEER_NODE(PgQuery__DefElem, pg_query__def_elem__descriptor)
PGSTEER_NODE(PgQuery__TransactionStmt, pg_query__transaction_stmt__descriptor)
PGSTEER_NODE(PgQuery__VariableSetStmt, pg_query__variable_set_stmt__descriptor)
PGSTEER_NODE(PgQuery__CopyStmt, pg_query__copy_stmt__descriptor)
PGSTEER_NODE(PgQuery__ExplainStmt, pg_query__explain_stmt__descriptor)
PGSTEER_NODE(PgQuery__DiscardStmt, pg_query__discard_stmt__descriptor)
PGSTEER_NODE(PgQuery__DeallocateStmt, pg_query__deallocate_stmt__descriptor)
PGSTEER_NODE(PgQuery__PrepareStmt, pg_query__prepare_stmt__descriptor)
PGSTEER_NODE(PgQuery__ExecuteStmt, pg_query__execute_stmt__descriptor)
PGSTEER_NODE(PgQuery__CreateTableAsStmt, pg_query__create_table_as_stmt__descriptor)
PGSTEER_NODE(PgQuery__DeclareCursorStmt, pg_query__declare_cursor_stmt__descriptor)
PGSTEER_NODE(PgQuery__FetchStmt, pg_query__fetch_stmt__descriptor)
PGSTEER_NODE(PgQuery__ClosePortalStmt, pg_query__close_portal_stmt__descriptor)
PGSTEER_NODE(PgQuery__ListenStmt, pg_query__listen_stmt__descriptor)
PGSTEER_NODE(PgQuery__UnlistenStmt, pg_query__unlisten_stmt__descriptor)
PGSTEER_NODE(PgQuery__NotifyStmt, pg_query__notify_stmt__descriptor)
PGSTEER_NODE(PgQuery__VariableShowStmt, pg_query__variable_show_stmt__descriptor)
PGSTEER_NODE(PgQuery__DropdbStmt, pg_query__dropdb_stmt__descriptor)
PGSTEER_NODE(PgQuery__CreatedbStmt, pg_query__createdb_stmt__descriptor)
PGSTEER_NODE(PgQuery__RenameStmt, pg_query__rename_stmt__descriptor)
PGSTEER_NODE(PgQuery__AlterDatabaseStmt, pg_query__alter_database_stmt__descriptor)
PGSTEER_NODE(PgQuery__GrantStmt, pg_query__grant_stmt__descriptor)
PGSTEER_NODE(PgQuery__InsertStmt, pg_query__insert_stmt__descriptor)
PGSTEER_NODE(PgQuery__UpdateStmt, pg_query__update_stmt__descriptor)
PGSTEER_NODE(PgQuery__DeleteStmt, pg_query__delete_stmt__descriptor)
PGSTEER_NODE(PgQuery__MergeStmt, pg_query__merge_stmt__descriptor)
PGSTEER_NODE(PgQuery__TruncateStmt, pg_query__truncate_stmt__descriptor)
PGSTEER_NODE(PgQuery__SQLValueFunction, pg_query__sqlvalue_function__descriptor)
PGSTEER_NODE(PgQuery__JoinExpr, pg_query__join_expr__descriptor)
PGSTEER_NODE(PgQuery__CaseExpr, pg_query__case_expr__descriptor)
PGSTEER_NODE(PgQuery__AIndirection, pg_query__a__indirection__descriptor)
PGSTEER_NODE(PgQuery__DoStmt, pg_query__do_stmt__descriptor)
#undef PGSTEER_NODE

template <class Type>
const Type* as(const Message* message) {
    return as(message, static_cast<const Type*>(nullptr));
}
template <class Type>
const Type* as(const PgQuery__Node* node) {
    return as<Type>(inside(node));
}

// The last of a list of String nodes: the name without its schema; empty if it is none.
std::string_view string_of(const PgQuery__Node* node);

// Calls visit(message) for a message and all below it, parents first, in the order of the text as
// far as the grammar keeps it; where visit returns false, not for what is below. Not recursive.
template <class Visit>
void walk(const Message* root, Visit&& visit);

void push_children(const Message* message, std::vector<const Message*>& pending);

template <class Visit>
void walk(const Message* root, Visit&& visit) {
    std::vector<const Message*> pending{root};
    while (!pending.empty()) {
        const Message* message = pending.back();
        pending.pop_back();
        if (visit(message)) push_children(message, pending);
    }
}

}  // namespace pgsteer::routing
