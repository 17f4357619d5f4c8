#include "routing/parse_tree.hpp"

#include <algorithm>
#include <cstring>

namespace pgsteer::routing {
namespace {

template <class Value>
const Value& field_at(const Message* message, unsigned offset) {
    return *reinterpret_cast<const Value*>(reinterpret_cast<const char*>(message) + offset);
}

// The grammar's own empty list elements: SELECT DISTINCT without ON, FROM f() without columns. An
// empty node anywhere else is something that libpg_query could not write down.
bool is_placeholder(const Message* parent, const Message* child) {
    return (parent->descriptor == &pg_query__list__descriptor ||
            parent->descriptor == &pg_query__select_stmt__descriptor) &&
           child->descriptor == &pg_query__node__descriptor &&
           inside(reinterpret_cast<const PgQuery__Node*>(child)) == nullptr;
}

}  // namespace

ParseTree parse(const std::string& text) {
    struct Result {
        PgQueryProtobufParseResult value;
        ~Result() { pg_query_free_protobuf_parse_result(value); }
    };
    const Result result{pg_query_parse_protobuf(text.c_str())};
    if (result.value.error != nullptr) return {nullptr, result.value.error->message};
    const auto& bytes = result.value.parse_tree;
    ParseTree tree;
    tree.root.reset(pg_query__parse_result__unpack(
        nullptr, bytes.len, reinterpret_cast<const std::uint8_t*>(bytes.data)));
    if (!tree.root) tree.error = "the parse tree cannot be read";
    return tree;
}

// Every member of the oneof is a pointer to a message, so any of them will do to read it.
const Message* inside(const PgQuery__Node* node) {
    if (node == nullptr || node->node_case == PG_QUERY__NODE__NODE__NOT_SET) return nullptr;
    return reinterpret_cast<const Message*>(node->alias);
}

std::string_view string_of(const PgQuery__Node* node) {
    const auto* string = as<PgQuery__String>(node);
    return string != nullptr && string->sval != nullptr ? string->sval : std::string_view{};
}

void push_children(const Message* message, std::vector<const Message*>& pending) {
    const Descriptor* descriptor = message->descriptor;
    if (descriptor == &pg_query__node__descriptor) {  // 260 possible fields, one of them set
        if (const Message* child = inside(reinterpret_cast<const PgQuery__Node*>(message)))
            pending.push_back(child);
        return;
    }
    const std::size_t first = pending.size();
    for (unsigned i = 0; i < descriptor->n_fields; ++i) {
        const ProtobufCFieldDescriptor& field = descriptor->fields[i];
        if (field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
        if (field.label == PROTOBUF_C_LABEL_REPEATED) {
            const auto count = field_at<std::size_t>(message, field.quantifier_offset);
            const auto* children = field_at<const Message* const*>(message, field.offset);
            for (std::size_t child = 0; child < count; ++child)
                if (!is_placeholder(message, children[child])) pending.push_back(children[child]);
            continue;
        }
        const bool in_oneof = (field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if (in_oneof && field_at<std::uint32_t>(message, field.quantifier_offset) != field.id)
            continue;
        if (const auto* child = field_at<const Message*>(message, field.offset))
            pending.push_back(child);
    }
    std::reverse(pending.begin() + static_cast<std::ptrdiff_t>(first), pending.end());
}

}  // namespace pgsteer::routing
