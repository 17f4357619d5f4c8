// SQL text -> the text that is parsed: what lex() hashes, written out again. Literals have become
// one of their kind and lists of them have become short, so that texts of equal key are parsed as
// one text, a thousand rows cost as much as one, and values never reach the parser.
#pragma once

#include "routing/read_options.hpp"
#include "routing/statement.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgsteer::routing {

struct Canonical {
    std::string text;
    Hint hint = Hint::none;
    ReadOptions options;       // of the comments at either end
    bool valid = true;         // false: unterminated literal, comment or identifier, or a zero byte
    bool junk_number = false;  // 1a: an error since PostgreSQL 15, two tokens before
    std::uint32_t nesting = 0;  // deepest nesting of () and []
    std::uint32_t depth = 0;    // no branch of the parse tree has more levels than a few times this
    // What the text may do even if it cannot be parsed here.
    bool may_change_settings = false;
    bool may_create_temporary = false;
    bool may_take_lock = false;  // an advisory one, of the session's
    bool may_keep_state = false;  // in its server process
};

Canonical canonical(std::string_view sql);

}  // namespace pgsteer::routing
