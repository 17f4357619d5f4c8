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

// Sink: word(Token), quoted(Token), literal(Token, Detail), op(Token), group(Group).
template <class Sink>
class TokenStream {
public:
    TokenStream(std::string_view sql, Detail detail, Sink& sink)
        : sql_(sql), scanner_(sql), detail_(detail), sink_(sink) {}

    StreamEnd run();
    [[nodiscard]] Hint hint() const { return stronger(leading_hint_, trailing_hint_); }
    [[nodiscard]] bool saw_junk() const { return scanner_.saw_junk(); }

private:
    bool value_matters(const Token& token) const;
    void open_bracket(const Token& token);
    bool read_group(Group& group);
    bool read_element(Token& element);
    void skip_more_rows(const Group& first);
    static bool is_literal(TokenKind kind) {
        return kind >= TokenKind::string && kind <= TokenKind::parameter;
    }
    void note_hint(const Token& token);

    std::string_view sql_;
    Scanner scanner_;
    Detail detail_;
    Sink& sink_;
    Hint leading_hint_ = Hint::none;
    Hint trailing_hint_ = Hint::none;
    bool statement_start_ = true;
    bool after_in_ = false;
};

template <class Sink>
StreamEnd TokenStream<Sink>::run() {
    if (sql_.find('\0') != std::string_view::npos) return StreamEnd::invalid;
    Token token = scanner_.next();
    leading_hint_ = scanner_.passed_hint();
    for (;; token = scanner_.next()) {
        note_hint(token);
        bool in = false;
        switch (token.kind) {
            case TokenKind::end:
                return StreamEnd::complete;
            case TokenKind::unterminated:
                return StreamEnd::invalid;
            case TokenKind::word:
                if (detail_ == Detail::folded && value_matters(token))
                    return StreamEnd::needs_exact;
                in = token.text.size() == 2 && same_word(token.text, "in");
                sink_.word(token);
                break;
            case TokenKind::unicode_quoted:
            case TokenKind::quoted:
                if (detail_ == Detail::folded && value_matters(token))
                    return StreamEnd::needs_exact;
                sink_.quoted(token);
                break;
            case TokenKind::op:
                if (detail_ == Detail::folded && (is(token, '(') || is(token, '[')))
                    open_bracket(token);
                else
                    sink_.op(token);
                break;
            default:
                sink_.literal(token, detail_);
        }
        statement_start_ = is(token, ';');
        after_in_ = in;
    }
}

// Only what stands before the first token or behind the last one (semicolons aside) is a hint.
template <class Sink>
void TokenStream<Sink>::note_hint(const Token& token) {
    if (token.kind == TokenKind::end || is(token, ';'))
        trailing_hint_ = stronger(trailing_hint_, scanner_.passed_hint());
    else
        trailing_hint_ = Hint::none;
}

// SET and set_config() are replayed on other connections; current_setting() depends on whose
// setting it is; UESCAPE and U&"..." spell identifiers.
template <class Sink>
bool TokenStream<Sink>::value_matters(const Token& token) const {
    std::string_view text = token.text;
    if (token.kind == TokenKind::unicode_quoted) return true;
    if (token.kind == TokenKind::quoted) text = text.substr(1, text.size() - 2);
    switch (text.size()) {
        case 3:
            return statement_start_ && same_word(text, "set");
        case 7:
            return same_word(text, "uescape");
        case 10:
            return same_word(text, "set_config");
        case 15:
            return same_word(text, "current_setting");
        default:
            return false;
    }
}

template <class Sink>
void TokenStream<Sink>::open_bracket(const Token& token) {
    const Scanner inside = scanner_;
    Group group{.open = token.text[0], .first = {}, .several = false};
    if (!read_group(group)) {
        scanner_ = inside;
        sink_.op(token);
        return;
    }
    if (group.open == '(') skip_more_rows(group);
    if (after_in_) group.several = false;
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
    if (element.kind != TokenKind::word || element.text.size() < 4 || element.text.size() > 7)
        return false;
    return same_word(element.text, "null") || same_word(element.text, "true") ||
           same_word(element.text, "false") || same_word(element.text, "default");
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
