// What the targets that read SQL text have in common.
#pragma once

#include "routing/lexer.hpp"
#include "routing/scanner.hpp"

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace pgsteer::fuzz {

inline constexpr routing::HashSecret kSecret{0x1234, 0x5678};

inline void require(bool holds, const char* what, std::string_view a, std::string_view b = {}) {
    if (holds) return;
    std::fprintf(stderr, "%s\n<%.*s>\n<%.*s>\n", what, static_cast<int>(a.size()), a.data(),
                 static_cast<int>(b.size()), b.data());
    std::abort();
}

struct Tokens {
    std::vector<routing::Token> list;
    bool complete = false;
    bool junk = false;
};

inline Tokens scan(std::string_view sql) {
    Tokens tokens;
    routing::Scanner scanner{sql};
    for (;;) {
        const routing::Token token = scanner.next();
        if (token.kind == routing::TokenKind::unterminated) return tokens;
        if (token.kind == routing::TokenKind::end) break;
        tokens.list.push_back(token);
    }
    tokens.complete = true;
    tokens.junk = scanner.saw_junk();
    return tokens;
}

}  // namespace pgsteer::fuzz
