// The scanner cuts tokens where PostgreSQL's does; other literals in the same places give the same
// key, and equal keys give equal Statements.
#include "routing/canonical.hpp"
#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "tests/fuzz/tokens.hpp"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace {

using namespace pgsteer::routing;
using namespace pgsteer::fuzz;

// libpg_query reports no or other boundaries for these, see lexer_test.cpp.
bool comparable(std::string_view sql, const Tokens& tokens) {
    for (const Token& token : tokens.list) {
        if (token.kind == TokenKind::national_string || token.kind == TokenKind::unicode_quoted)
            return false;
        if (token.kind == TokenKind::string && (*token.data | 0x20) == 'u') return false;
    }
    return sql.find("--") == std::string_view::npos;
}

void compare_with_postgres(const std::string& sql, const Tokens& tokens) {
    const PgQueryScanResult result = pg_query_scan(sql.c_str());
    if (result.error == nullptr && comparable(sql, tokens)) {
        auto* theirs = pg_query__scan_result__unpack(
            nullptr, result.pbuf.len, reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
        require(tokens.complete, "no end found where PostgreSQL finds one", sql);
        std::size_t i = 0;
        for (std::size_t j = 0; j < theirs->n_tokens; ++j) {
            const auto& token = *theirs->tokens[j];
            if (token.token == PG_QUERY__TOKEN__C_COMMENT) continue;
            require(i < tokens.list.size(), "fewer tokens than PostgreSQL", sql);
            const auto begin = tokens.list[i].data - sql.data();
            require(begin == token.start && begin + tokens.list[i].size == token.end,
                    "other token than PostgreSQL", sql, tokens.list[i].text());
            ++i;
        }
        require(i == tokens.list.size(), "more tokens than PostgreSQL", sql);
        pg_query__scan_result__free_unpacked(theirs, nullptr);
    }
    pg_query_free_scan_result(result);
}

std::string_view other_value(const Token& token) {
    switch (token.kind) {
        case TokenKind::string:
            switch (*token.data) {
                case '\'':
                    return "'q'";
                case '$':
                    return "$$q$$";
                case 'e':
                case 'E':
                    return "E'q'";
                default:
                    return token.text();
            }
        case TokenKind::integer:
            return "77";
        case TokenKind::decimal:
            return "7.75";
        case TokenKind::parameter:
            return "$99";
        default:
            return token.text();
    }
}

std::string with_other_values(std::string_view sql, const Tokens& tokens) {
    std::string text;
    const char* at = sql.data();
    for (const Token& token : tokens.list) {
        text.append(at, token.data);
        const std::string_view value = other_value(token);
        const bool changed = value.data() != token.data;
        text.append(changed ? " " : "").append(value).append(changed ? " " : "");
        at = token.data + token.size;
    }
    return text.append(at, sql.data() + sql.size());
}

bool equal(const Statement& a, const Statement& b) {
    if (a.effects.size() != b.effects.size()) return false;
    for (std::size_t i = 0; i < a.effects.size(); ++i)
        if (a.effects[i].kind != b.effects[i].kind || a.effects[i].name != b.effects[i].name ||
            a.effects[i].sql != b.effects[i].sql || a.effects[i].value != b.effects[i].value ||
            a.effects[i].statement_index != b.effects[i].statement_index)
            return false;
    return a.access == b.access && a.reason == b.reason && a.hint == b.hint &&
           a.detail == b.detail && a.statement_count == b.statement_count &&
           a.raises_floor == b.raises_floor && a.uses_cursor == b.uses_cursor &&
           a.if_harmless == b.if_harmless && a.uses == b.uses &&
           a.catalog_change == b.catalog_change;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string sql{reinterpret_cast<const char*>(data), size};
    const Lexed lexed = lex(sql, kSecret);
    if (sql.find('\0') != std::string::npos) {
        require(!lexed.valid, "a zero byte is valid", sql);
        return 0;
    }
    const Tokens tokens = scan(sql);
    require(tokens.complete == lexed.valid, "lex and scanner disagree", sql);
    compare_with_postgres(sql, tokens);
    if (!tokens.complete || tokens.junk) return 0;

    const std::string other = with_other_values(sql, tokens);
    const bool same_text = canonical(sql).text == canonical(other).text;
    const bool same_key = lex(other, kSecret).key == lexed.key;
    require(same_text == same_key, "key and canonical text disagree", sql, other);
    if (same_key)
        require(equal(classify(sql), classify(other)), "equal keys, other Statement", sql, other);
    return 0;
}
