// Tokens -> the stream that two texts share if nothing routing may look at tells them apart: no
// comments, no values of literals, lists of literals of any length alike. One template feeds both
// the hash (lexer.cpp) and the text that is parsed (canonical.cpp), so that they cannot disagree.
#pragma once

#include "routing/scanner.hpp"

#include <cstring>

namespace pgsteer::routing {

// `exact` keeps every literal: where its value decides what the statement does.
enum class Detail : std::uint8_t { folded, exact };

enum class StreamEnd : std::uint8_t { complete, invalid, needs_exact };

// A list of at least one literal or parameter in brackets, or several such rows with commas
// between.
struct Group {
    char open = '(';
    Token first;           // the first element, without its sign
    bool several = false;  // (1, 2), not (1); after IN both count as (1)
};

inline bool same_word(std::string_view text, std::string_view lower) {
    if (text.size() != lower.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != lower[i]) return false;
    }
    return true;
}

inline std::string_view inside_quotes(const Token& token) {
    return token.text().substr(1, token.size - 2);
}

// Sink: word(Token), quoted(Token), literal(Token, Detail), op(Token), group(Group).
template <class Sink>
class TokenStream {
public:
    TokenStream(std::string_view sql, Detail detail, Sink& sink)
        : sql_(sql), scanner_(sql), detail_(detail), sink_(sink) {}

    StreamEnd run();
    [[nodiscard]] Hint hint() const {
        return stronger(leading_.place, scanner_.trailing_hints().place);
    }
    // Comments with options at the beginning and at the end; empty: none.
    [[nodiscard]] std::string_view leading_options() const { return leading_.options; }
    [[nodiscard]] std::string_view trailing_options() const {
        return scanner_.trailing_hints().options;
    }
    [[nodiscard]] bool saw_junk() const { return scanner_.saw_junk(); }

private:
    bool value_matters(std::string_view word) const;
    // The text of DO: what it does is in it. DO LANGUAGE name '...' begins its own text, or it is
    // not looked at.
    [[nodiscard]] bool is_block(const Token& token) const {
        if (previous_.kind != TokenKind::word) return false;
        if (previous_.size == 2) return same_word(previous_.text(), "do");
        if (*token.data != '$' || token.kind != TokenKind::string) return false;
        const auto first = sql_.find_first_not_of(" \t\r\n;");
        return first != std::string_view::npos && same_word(sql_.substr(first, 2), "do");
    }
    [[nodiscard]] bool at_statement_start() const {
        return previous_.kind == TokenKind::end || is(previous_, ';');
    }
    void open_bracket(const Token& token);
    bool read_group(Group& group);
    bool read_element(Token& element);
    void skip_more_rows(const Group& first);
    static bool is_literal(TokenKind kind) {
        return kind >= TokenKind::string && kind <= TokenKind::parameter;
    }

    std::string_view sql_;
    Scanner scanner_;
    Detail detail_;
    Sink& sink_;
    Scanner::Hints leading_;
    Token previous_;
};

template <class Sink>
StreamEnd TokenStream<Sink>::run() {
    if (sql_.find('\0') != std::string_view::npos) return StreamEnd::invalid;
    leading_ = scanner_.leading_hints();
    for (;;) {
        const Token token = scanner_.next();
        switch (token.kind) {
            case TokenKind::end:
                return StreamEnd::complete;
            case TokenKind::unterminated:
                return StreamEnd::invalid;
            case TokenKind::word:
                if (detail_ == Detail::folded && value_matters(token.text()))
                    return StreamEnd::needs_exact;
                sink_.word(token);
                break;
            case TokenKind::quoted:
            case TokenKind::unicode_quoted:
                if (detail_ == Detail::folded && (token.kind == TokenKind::unicode_quoted ||
                                                  value_matters(inside_quotes(token))))
                    return StreamEnd::needs_exact;
                sink_.quoted(token);
                break;
            case TokenKind::op:
                if (detail_ == Detail::folded && (*token.data == '(' || *token.data == '['))
                    open_bracket(token);
                else
                    sink_.op(token);
                break;
            default:
                if (detail_ == Detail::folded && is_block(token)) return StreamEnd::needs_exact;
                sink_.literal(token, detail_);
        }
        previous_ = token;
    }
}

// SET, PREPARE, set_config() and UPDATE pg_settings are replayed on other connections;
// current_setting() depends on whose setting it is; UESCAPE (like U&"...") spells identifiers.
template <class Sink>
bool TokenStream<Sink>::value_matters(std::string_view word) const {
    constexpr std::uint32_t kLengths = 1U << 3 | 1U << 7 | 1U << 10 | 1U << 11 | 1U << 15;
    if (word.size() > 15 || (kLengths >> word.size() & 1) == 0) return false;
    switch (word.size()) {
        case 3:
            return at_statement_start() && same_word(word, "set");
        case 7:
            return same_word(word, "uescape") ||
                   (at_statement_start() && same_word(word, "prepare"));
        case 10:
            return same_word(word, "set_config");
        case 11:
            return same_word(word, "pg_settings");
        default:
            return same_word(word, "current_setting");
    }
}

template <class Sink>
void TokenStream<Sink>::open_bracket(const Token& token) {
    const Scanner inside = scanner_;
    Group group{.open = *token.data, .first = {}, .several = false};
    if (!read_group(group)) {
        scanner_ = inside;
        sink_.op(token);
        return;
    }
    if (previous_.kind == TokenKind::word && same_word(previous_.text(), "in"))
        group.several = false;
    else if (group.open == '(')
        skip_more_rows(group);
    sink_.group(group);
}

template <class Sink>
bool TokenStream<Sink>::read_group(Group& group) {
    if (!read_element(group.first)) return false;
    for (;;) {
        const Token token = scanner_.next();
        if (is(token, group.open == '(' ? ')' : ']')) return true;
        Token element;
        if (!is(token, ',') || !read_element(element)) return false;
        group.several = true;
    }
}

template <class Sink>
bool TokenStream<Sink>::read_element(Token& element) {
    element = scanner_.next();
    if (is_literal(element.kind)) return true;
    if (is(element, '-') || is(element, '+')) {
        element = scanner_.next();
        return element.kind == TokenKind::integer || element.kind == TokenKind::decimal;
    }
    if (element.kind != TokenKind::word || element.size < 4 || element.size > 7) return false;
    return same_word(element.text(), "null") || same_word(element.text(), "true") ||
           same_word(element.text(), "false") || same_word(element.text(), "default");
}

template <class Sink>
void TokenStream<Sink>::skip_more_rows(const Group& first) {
    for (;;) {
        const Scanner before = scanner_;
        Group row;
        if (!is(scanner_.next(), ',') || !is(scanner_.next(), '(') || !read_group(row) ||
            row.several != first.several) {
            scanner_ = before;
            return;
        }
    }
}

}  // namespace pgsteer::routing
