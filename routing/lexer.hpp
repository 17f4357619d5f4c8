// One pass over SQL text: strips literals and comments, folds lists of literals, and gives a
// 128-bit keyed hash of the token stream. Texts of equal key have equal Statements.
#pragma once

#include "routing/statement.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace pgsteer::routing {

struct StatementKey {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    bool operator==(const StatementKey&) const = default;
};

struct Lexed {
    StatementKey key;
    Hint hint = Hint::none;  // from a comment at either end; part of the key
    bool valid = true;       // false: unterminated literal, comment or identifier
};

// A secret of this process, so that nobody can construct two texts of equal key.
struct HashSecret {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
};

// `sql` as PostgreSQL lexes it with standard_conforming_strings=on, in an encoding where no trail
// byte can be mistaken for ASCII. Linear in sql.size(), allocates nothing.
// Literals stay in the key where they decide what the statement is: in a text with SET,
// set_config(), current_setting(), UESCAPE or U&"..." (see TokenStream::value_matters).
Lexed lex(std::string_view sql, const HashSecret& secret);

}  // namespace pgsteer::routing
