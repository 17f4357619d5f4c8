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

// Two machine words, so that it is returned in registers.
struct Token {
    const char* data = nullptr;
    std::uint32_t size = 0;
    TokenKind kind = TokenKind::end;

    [[nodiscard]] std::string_view text() const { return {data, size}; }
};

inline bool is(const Token& token, char punctuation) {
    return token.kind == TokenKind::op && token.size == 1 && *token.data == punctuation;
}

// A cheap value: copy it to come back to a position.
class Scanner {
public:
    explicit Scanner(std::string_view sql) : at_(sql.data()), end_(sql.data() + sql.size()) {}

    Token next();

    struct Hints {
        Hint place = Hint::none;
        std::string_view options{};  // the last comment that has some; empty: none
    };
    // In the comments before the first token; to be called before next().
    Hints leading_hints() { return skip_space() ? hints_ : Hints{}; }
    // At the end: in the comments behind the last token that is not a semicolon.
    [[nodiscard]] Hints trailing_hints() const { return hints_; }
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
    [[nodiscard]] bool at(char first, char second) const {
        return end_ - at_ >= 2 && at_[0] == first && at_[1] == second;
    }
    [[nodiscard]] char peek(std::ptrdiff_t offset) const {
        return end_ - at_ > offset ? at_[offset] : '\0';
    }
    Token token(TokenKind kind, const char* begin) const {
        return {begin, static_cast<std::uint32_t>(at_ - begin), kind};
    }

    bool skip_space();
    bool skip_block_comment();
    void add_hint(std::string_view comment) {
        const CommentHint hint = hint_in(comment);
        hints_.place = stronger(hints_.place, hint.place);
        if (hint.has_options) hints_.options = comment;
    }
    // The first byte from `from` on that is of none of the classes. Hot: at_ itself may not be the
    // loop's variable, since what it points at could be at_ for all the compiler knows.
    [[nodiscard]] const char* skip(const char* from, std::uint8_t classes) const {
        const char* const end = end_;
        while (from < end && has(*from, classes)) ++from;
        return from;
    }
    Token word_token();
    Token other_token();
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
    Hints hints_;
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
    for (const char c : std::string_view{" \t\n\r\f"})
        classes[static_cast<unsigned char>(c)] |= space;
    for (const char c : std::string_view{"~!@#^&|`?+-*/%<>="})
        classes[static_cast<unsigned char>(c)] |= operate;
    for (const char c : std::string_view{"~!@#^&|`?%"})
        classes[static_cast<unsigned char>(c)] |= special;
    return classes;
}

inline constexpr std::array<std::uint8_t, 256> Scanner::kClasses = Scanner::make_classes();

inline Token Scanner::next() {
    if (at_ < end_ && has(*at_, space)) ++at_;
    if (at_ < end_ && has(*at_, start)) {
        hints_ = {};
        return word_token();
    }
    if (!skip_space()) return {at_, 0, TokenKind::unterminated};
    if (at_ == end_) return {at_, 0, TokenKind::end};
    const char* begin = at_;
    if (*begin == ';') {
        ++at_;
        return token(TokenKind::op, begin);
    }
    hints_ = {};
    return has(*begin, start) ? word_token() : other_token();
}

inline Token Scanner::other_token() {
    const char* begin = at_;
    switch (*begin) {
        case '\'':
            return string_token(TokenKind::string, begin, false, true);
        case '"':
            return quoted_token(TokenKind::quoted, begin);
        case '$':
            return dollar();
        case '\0':
            return {at_, 0, TokenKind::unterminated};
        default:
            break;
    }
    if (has(*begin, digit) || (*begin == '.' && has(peek(1), digit))) return number();
    if (has(*begin, operate)) return operator_token();
    at_ += at(':', ':') || at(':', '=') || at('.', '.') ? 2 : 1;
    return token(TokenKind::op, begin);
}

// Blanks and comments; false if a comment has no end. Adds to hints_ what the comments say.
inline bool Scanner::skip_space() {
    for (;;) {
        at_ = skip(at_, space);
        if (at_ == end_ || (*at_ != '-' && *at_ != '/')) return true;
        const char* begin = at_;
        if (at('-', '-')) {
            while (at_ < end_ && *at_ != '\n' && *at_ != '\r') ++at_;
        } else if (at('/', '*')) {
            if (!skip_block_comment()) {
                at_ = begin;  // so that it is still without an end when asked again
                return false;
            }
            add_hint({begin, static_cast<std::size_t>(at_ - begin)});
        } else {
            return true;
        }
    }
}

inline bool Scanner::skip_block_comment() {
    int depth = 0;
    while (at_ < end_) {
        if (at('/', '*')) {
            ++depth;
            at_ += 2;
        } else if (at('*', '/')) {
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
    at_ = skip(begin + 1, part);
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
    at_ = skip(at_, digit);
    if (peek(0) == '.' && peek(1) != '.') {  // 1..10 is 1 .. 10
        integral = false;
        ++at_;
        at_ = skip(at_, digit);
    }
    if ((peek(0) | 0x20) == 'e') {
        const std::ptrdiff_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
        if (has(peek(1 + sign), digit)) {
            integral = false;
            at_ += 1 + sign;
            at_ = skip(at_, digit);
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
        at_ = skip(at_, digit);
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
    if (closing == std::string_view::npos) return {at_, 0, TokenKind::unterminated};
    at_ = rest.data() + closing + tag.size();
    return token(TokenKind::string, begin);
}

// The longest run of operator characters that has no comment in it, and does not end in + or -
// unless it holds a character that no standard SQL operator has.
inline Token Scanner::operator_token() {
    const char* begin = at_;
    if (skip(begin, operate) == begin + 1) {
        ++at_;
        return token(TokenKind::op, begin);
    }
    const char* last_special = nullptr;
    while (at_ < end_ && has(*at_, operate) && !at('/', '*') && !at('-', '-')) {
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
    const char escape = backslash ? '\\' : '\'';
    for (;;) {
        const char* from = at_;
        while (from < end_ && *from != '\'' && *from != '\0' && *from != escape) ++from;
        at_ = from;
        if (at_ == end_ || *at_ == '\0') return {at_, 0, TokenKind::unterminated};
        if (*at_ == '\\') {
            if (end_ - at_ < 2 || at_[1] == '\0') return {at_, 0, TokenKind::unterminated};
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
    const char* ahead = at_;
    bool newline = false;
    while (ahead < end_) {
        if (has(*ahead, space)) {
            newline = newline || *ahead == '\n' || *ahead == '\r';
            ++ahead;
        } else if (end_ - ahead >= 2 && ahead[0] == '-' && ahead[1] == '-') {
            while (ahead < end_ && *ahead != '\n' && *ahead != '\r') ++ahead;
        } else {
            break;
        }
    }
    if (!newline || ahead == end_ || *ahead != '\'') return false;
    at_ = ahead + 1;
    return true;
}

inline Token Scanner::quoted_token(TokenKind kind, const char* begin) {
    ++at_;
    for (;;) {
        while (at_ < end_ && *at_ != '"' && *at_ != '\0') ++at_;
        if (at_ == end_ || *at_ == '\0') return {at_, 0, TokenKind::unterminated};
        ++at_;
        if (peek(0) != '"') return token(kind, begin);
        ++at_;
    }
}

}  // namespace pgsteer::routing
