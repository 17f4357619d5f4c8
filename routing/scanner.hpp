// SQL text -> tokens, one at a time, as PostgreSQL 15's scan.l cuts them with
// standard_conforming_strings=on. Header only: lex() runs for every statement a client sends.
#pragma once

#include "routing/hints.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace pgsteer::routing {

enum class TokenKind : std::uint8_t {
    word,             // keyword or identifier, not yet folded to lower case
    quoted,           // "identifier"
    unicode_quoted,   // U&"identifier"
    string,           // '..', E'..', U&'..', $tag$..$tag$
    national_string,  // N'..'
    bit_string,       // B'..'
    hex_string,       // X'..'
    integer,          // fits into 32 bits
    decimal,          // any other number
    parameter,        // $1
    op,               // operators and punctuation
    end,
    unterminated,  // literal, comment or identifier without an end, or a zero byte
};

struct Token {
    TokenKind kind = TokenKind::end;
    std::string_view text;
};

inline bool is(const Token& token, char punctuation) {
    return token.kind == TokenKind::op && token.text.size() == 1 && token.text[0] == punctuation;
}

// A cheap value: copy it to come back to a position.
class Scanner {
public:
    explicit Scanner(std::string_view sql) : at_(sql.data()), end_(sql.data() + sql.size()) {}

    Token next();

    // The hint in the comments between the last token and the one before it.
    [[nodiscard]] Hint passed_hint() const { return hint_; }
    // A number or parameter ran into a letter, as in 1a: an error since PostgreSQL 15.
    [[nodiscard]] bool saw_junk() const { return junk_; }

private:
    enum Class : std::uint8_t {
        start = 1,
        part = 2,
        digit = 4,
        space = 8,
        operate = 16,
        special = 32
    };
    static constexpr std::array<std::uint8_t, 256> make_classes();
    static const std::array<std::uint8_t, 256> kClasses;

    static bool has(char c, std::uint8_t classes) {
        return (kClasses[static_cast<unsigned char>(c)] & classes) != 0;
    }
    [[nodiscard]] bool starts(std::string_view text) const {
        return static_cast<std::size_t>(end_ - at_) >= text.size() &&
               std::string_view{at_, text.size()} == text;
    }
    [[nodiscard]] char peek(std::ptrdiff_t offset) const {
        return end_ - at_ > offset ? at_[offset] : '\0';
    }
    Token token(TokenKind kind, const char* begin) const {
        return {kind, {begin, static_cast<std::size_t>(at_ - begin)}};
    }

    bool skip_space();
    bool skip_block_comment();
    Token word_token();
    Token prefixed(const char* begin);
    Token number();
    Token dollar();
    Token operator_token();
    Token string_token(TokenKind kind, const char* begin, bool backslash, bool doubling);
    Token quoted_token(TokenKind kind, const char* begin);
    bool continues_on_next_line();
    void note_junk() { junk_ = junk_ || (at_ < end_ && has(*at_, start)); }

    const char* at_;
    const char* end_;
    Hint hint_ = Hint::none;
    bool junk_ = false;
};

constexpr std::array<std::uint8_t, 256> Scanner::make_classes() {
    std::array<std::uint8_t, 256> classes{};
    for (unsigned c = 0; c < 256; ++c) {
        const bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        const bool number = c >= '0' && c <= '9';
        if (letter) classes[c] |= start;
        if (letter || number || c == '$') classes[c] |= part;
        if (number) classes[c] |= digit;
    }
    for (const unsigned char c : {' ', '\t', '\n', '\r', '\f'}) classes[c] |= space;
    for (const char c : std::string_view{"~!@#^&|`?+-*/%<>="})
        classes[static_cast<unsigned char>(c)] |= operate;
    for (const char c : std::string_view{"~!@#^&|`?%"})
        classes[static_cast<unsigned char>(c)] |= special;
    return classes;
}

inline constexpr std::array<std::uint8_t, 256> Scanner::kClasses = Scanner::make_classes();

inline Token Scanner::next() {
    if (!skip_space()) return {TokenKind::unterminated, {}};
    if (at_ == end_) return {TokenKind::end, {}};
    const char c = *at_;
    if (has(c, start)) return word_token();
    if (has(c, digit) || (c == '.' && has(peek(1), digit))) return number();
    const char* begin = at_;
    if (c == '\'') return string_token(TokenKind::string, begin, false, true);
    if (c == '"') return quoted_token(TokenKind::quoted, begin);
    if (c == '$') return dollar();
    if (has(c, operate)) return operator_token();
    if (c == '\0') return {TokenKind::unterminated, {}};
    at_ += starts("::") || starts(":=") || starts("..") ? 2 : 1;
    return token(TokenKind::op, begin);
}

inline bool Scanner::skip_space() {
    hint_ = Hint::none;
    for (; at_ < end_;) {
        if (has(*at_, space)) {
            ++at_;
        } else if (starts("--")) {
            while (at_ < end_ && *at_ != '\n' && *at_ != '\r') ++at_;
        } else if (starts("/*")) {
            const char* begin = at_;
            if (!skip_block_comment()) return false;
            const Hint found = hint_in({begin, static_cast<std::size_t>(at_ - begin)});
            if (found != Hint::none) hint_ = stronger(hint_, found);
        } else {
            break;
        }
    }
    return true;
}

inline bool Scanner::skip_block_comment() {
    int depth = 0;
    while (at_ < end_) {
        if (starts("/*")) {
            ++depth;
            at_ += 2;
        } else if (starts("*/")) {
            at_ += 2;
            if (--depth == 0) return true;
        } else {
            ++at_;
        }
    }
    return false;
}

inline Token Scanner::word_token() {
    const char* begin = at_;
    do ++at_;
    while (at_ < end_ && has(*at_, part));
    if (at_ - begin == 1 && at_ < end_ && (*at_ == '\'' || *at_ == '&')) return prefixed(begin);
    return token(TokenKind::word, begin);
}

// One letter, and a quote or & behind it: E'..', U&"..", or just a word.
inline Token Scanner::prefixed(const char* begin) {
    const char letter = static_cast<char>(*begin | 0x20);
    if (*at_ == '&') {
        if (letter != 'u' || (peek(1) != '\'' && peek(1) != '"'))
            return token(TokenKind::word, begin);
        ++at_;
        if (*at_ == '"') return quoted_token(TokenKind::unicode_quoted, begin);
        return string_token(TokenKind::string, begin, false, true);
    }
    switch (letter) {
        case 'e':
            return string_token(TokenKind::string, begin, true, true);
        case 'n':
            return string_token(TokenKind::national_string, begin, false, true);
        case 'b':
            return string_token(TokenKind::bit_string, begin, false, false);
        case 'x':
            return string_token(TokenKind::hex_string, begin, false, false);
        default:
            return token(TokenKind::word, begin);
    }
}

inline Token Scanner::number() {
    const char* begin = at_;
    bool integral = true;
    while (at_ < end_ && has(*at_, digit)) ++at_;
    if (peek(0) == '.' && peek(1) != '.') {  // 1..10 is 1 .. 10
        integral = false;
        ++at_;
        while (at_ < end_ && has(*at_, digit)) ++at_;
    }
    if ((peek(0) | 0x20) == 'e') {
        const std::ptrdiff_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
        if (has(peek(1 + sign), digit)) {
            integral = false;
            at_ += 1 + sign;
            while (at_ < end_ && has(*at_, digit)) ++at_;
        }
    }
    note_junk();
    if (integral) {
        std::string_view digits{begin, static_cast<std::size_t>(at_ - begin)};
        while (digits.size() > 1 && digits[0] == '0') digits.remove_prefix(1);
        integral = digits.size() < 10 || (digits.size() == 10 && digits <= "2147483647");
    }
    return token(integral ? TokenKind::integer : TokenKind::decimal, begin);
}

// $1, $tag$..$tag$, or a lone $.
inline Token Scanner::dollar() {
    const char* begin = at_++;
    if (at_ < end_ && has(*at_, digit)) {
        while (at_ < end_ && has(*at_, digit)) ++at_;
        note_junk();
        return token(TokenKind::parameter, begin);
    }
    const char* tag_end = at_;
    if (tag_end < end_ && has(*tag_end, start))
        while (tag_end < end_ && *tag_end != '$' && has(*tag_end, part)) ++tag_end;
    if (tag_end == end_ || *tag_end != '$') return token(TokenKind::op, begin);
    const std::string_view tag{begin, static_cast<std::size_t>(tag_end + 1 - begin)};
    const std::string_view rest{tag_end + 1, static_cast<std::size_t>(end_ - tag_end - 1)};
    const auto closing = rest.find(tag);
    if (closing == std::string_view::npos) return {TokenKind::unterminated, {}};
    at_ = rest.data() + closing + tag.size();
    return token(TokenKind::string, begin);
}

// The longest run of operator characters that has no comment in it, and does not end in + or -
// unless it holds a character that no standard SQL operator has.
inline Token Scanner::operator_token() {
    const char* begin = at_;
    const char* last_special = nullptr;
    while (at_ < end_ && has(*at_, operate) && !starts("/*") && !starts("--")) {
        if (has(*at_, special)) last_special = at_;
        ++at_;
    }
    while (at_ - begin > 1 && (at_[-1] == '+' || at_[-1] == '-') && last_special == nullptr) --at_;
    return token(TokenKind::op, begin);
}

inline Token Scanner::string_token(TokenKind kind,
                                   const char* begin,
                                   bool backslash,
                                   bool doubling) {
    ++at_;
    for (;;) {
        while (at_ < end_ && *at_ != '\'' && *at_ != '\0' && !(backslash && *at_ == '\\')) ++at_;
        if (at_ == end_ || *at_ == '\0') return {TokenKind::unterminated, {}};
        if (*at_ == '\\') {
            if (end_ - at_ < 2 || at_[1] == '\0') return {TokenKind::unterminated, {}};
            at_ += 2;
        } else if (doubling && peek(1) == '\'') {
            at_ += 2;
        } else {
            ++at_;
            if (!continues_on_next_line()) return token(kind, begin);
        }
    }
}

// 'a'<newline>'b' is one literal; only blanks and -- comments may stand between.
inline bool Scanner::continues_on_next_line() {
    const char* at = at_;
    bool newline = false;
    for (; at < end_;) {
        if (has(*at, space)) {
            newline = newline || *at == '\n' || *at == '\r';
            ++at;
        } else if (end_ - at >= 2 && at[0] == '-' && at[1] == '-') {
            while (at < end_ && *at != '\n' && *at != '\r') ++at;
        } else {
            break;
        }
    }
    if (!newline || at == end_ || *at != '\'') return false;
    at_ = at + 1;
    return true;
}

inline Token Scanner::quoted_token(TokenKind kind, const char* begin) {
    ++at_;
    for (;;) {
        while (at_ < end_ && *at_ != '"' && *at_ != '\0') ++at_;
        if (at_ == end_ || *at_ == '\0') return {TokenKind::unterminated, {}};
        ++at_;
        if (peek(0) != '"') return token(kind, begin);
        ++at_;
    }
}

}  // namespace pgsteer::routing
