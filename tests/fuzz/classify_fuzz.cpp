// No text crashes classify(); what it calls a read has no effects; the depth estimate holds; the
// canonical form has the key of the text it was made from.
#include "routing/canonical.hpp"
#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "routing/parse_tree.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace pgsteer::routing;

constexpr HashSecret kSecret{0x1234, 0x5678};

void require(bool holds, const char* what, const std::string& sql) {
    if (holds) return;
    std::fprintf(stderr, "%s\n<%s>\n", what, sql.c_str());
    std::abort();
}

std::size_t depth_of(const ParseTree& tree) {
    std::size_t deepest = 0;
    std::vector<std::pair<const Message*, std::size_t>> pending{{&tree.root->base, 1}};
    std::vector<const Message*> children;
    while (!pending.empty()) {
        const auto [message, depth] = pending.back();
        pending.pop_back();
        deepest = depth > deepest ? depth : deepest;
        children.clear();
        push_children(message, children);
        for (const Message* child : children) pending.emplace_back(child, depth + 1);
    }
    return deepest;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string sql{reinterpret_cast<const char*>(data), size};
    const Statement statement = classify(sql);
    if (statement.access == Access::read_only) {
        require(statement.effects.empty(), "a read with effects", sql);
        require(statement.reason == Reason::fresh_replica && statement.statement_count > 0,
                "an unreasonable read", sql);
    }
    const Canonical text = canonical(sql);
    if (!text.valid || text.junk_number) return 0;
    if (text.hint == Hint::none)
        require(lex(text.text, kSecret).key == lex(sql, kSecret).key,
                "the canonical form has another key", sql + "\n" + text.text);
    if (statement.reason == Reason::too_complex || statement.reason == Reason::syntax_error)
        return 0;
    const ParseTree tree = parse(text.text);
    require(tree.root != nullptr && depth_of(tree) <= 5U * text.depth + 40U,
            "deeper than estimated", sql);
    return 0;
}
