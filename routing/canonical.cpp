#include "routing/canonical.hpp"

#include "routing/builtins.hpp"
#include "routing/kept_state.hpp"
#include "routing/token_stream.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace pgsteer::routing {
namespace {

// Keywords that put a level into the parse tree at the same level of brackets; more than needed
// only makes the estimate higher.
constexpr std::array<std::string_view, 54> kDeepening{
    "all",      "and",     "any",    "array",  "at",        "atomic",   "begin",   "between",
    "case",     "collate", "create", "cross",  "declare",   "distinct", "else",    "except",
    "exists",   "explain", "filter", "for",    "from",      "full",     "group",   "having",
    "ilike",    "in",      "inner",  "insert", "intersect", "is",       "isnull",  "join",
    "lateral",  "left",    "like",   "limit",  "natural",   "not",      "notnull", "on",
    "operator", "or",      "order",  "over",   "overlaps",  "right",    "row",     "select",
    "similar",  "some",    "then",   "union",  "values",    "when"};
static_assert(std::is_sorted(kDeepening.begin(), kDeepening.end()));

// Statements after which another connection is not what it was.
constexpr std::array<std::string_view, 9> kSessionVerbs{
    "deallocate", "declare", "discard", "listen", "load", "prepare", "reset", "set", "unlisten"};
static_assert(std::is_sorted(kSessionVerbs.begin(), kSessionVerbs.end()));

template <std::size_t size>
bool among(const std::array<std::string_view, size>& sorted, std::string_view word) {
    return std::binary_search(sorted.begin(), sorted.end(), word);
}

// The depth of a bracket is that of its own tokens, all in one chain at worst, and of the deepest
// bracket in it.
class DepthEstimate {
public:
    DepthEstimate() : levels_(1) {}
    void deepen() { ++levels_.back().own; }
    void open() {
        levels_.emplace_back();
        nesting_ = std::max(nesting_, static_cast<std::uint32_t>(levels_.size() - 1));
    }
    void close() {
        if (levels_.size() == 1) return;
        const std::uint32_t depth = levels_.back().own + levels_.back().deepest_child + 1;
        levels_.pop_back();
        levels_.back().deepest_child = std::max(levels_.back().deepest_child, depth);
    }
    [[nodiscard]] std::uint32_t nesting() const { return nesting_; }
    std::uint32_t depth() {
        while (levels_.size() > 1) close();
        return levels_.back().own + levels_.back().deepest_child;
    }

private:
    struct Level {
        std::uint32_t own = 0;
        std::uint32_t deepest_child = 0;
    };
    std::vector<Level> levels_;
    std::uint32_t nesting_ = 0;
};

class TextSink {
public:
    explicit TextSink(Canonical& result) : result_(result) {}

    void word(const Token& token) {
        const std::size_t begin = result_.text.size();
        append_lower(token.text());
        note_word(std::string_view{result_.text}.substr(begin));
        result_.text += ' ';
        statement_start_ = false;
    }
    void quoted(const Token& token) {
        if (token.kind == TokenKind::unicode_quoted) {  // may spell any of the names looked for
            result_.may_change_settings = result_.may_create_temporary = true;
            result_.may_take_lock = result_.may_keep_state = true;
        } else {
            note_name(inside_quotes(token));
        }
        append(token.text());
    }
    void literal(const Token& token, Detail detail) {
        append(detail == Detail::exact ? token.text() : sample(token));
    }
    void op(const Token& token) {
        if (is(token, '(') || is(token, '['))
            depth_.open();
        else if (is(token, ')') || is(token, ']'))
            depth_.close();
        else if (!is(token, ',') && !is(token, ';') && !is(token, '.'))
            depth_.deepen();
        append(token.text());
        statement_start_ = is(token, ';');
    }
    void group(const Group& group) {
        depth_.open();
        depth_.close();
        result_.text += group.open;
        append_element(group.first);
        if (group.several) {
            result_.text += ',';
            append_element(group.first);
        }
        append(group.open == '(' ? ")" : "]");
    }
    void finish() {
        result_.nesting = depth_.nesting();
        result_.depth = depth_.depth();
    }

private:
    void append_lower(std::string_view text) {
        for (const char c : text)
            result_.text += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    void append_element(const Token& token) {
        if (token.kind == TokenKind::word)
            append_lower(token.text());  // NULL and null have one key
        else
            result_.text += sample(token);
    }
    void append(std::string_view text) {
        result_.text += text;
        result_.text += ' ';
        statement_start_ = false;
    }
    // Not 0: float(0) is an error of the grammar. Not '': the parse tree has an empty string where
    // there is none, and COPY t TO '' would be COPY t TO STDOUT.
    static std::string_view sample(const Token& token) {
        switch (token.kind) {
            case TokenKind::string:
                return "'x'";
            case TokenKind::national_string:
                return "N'x'";
            case TokenKind::bit_string:
                return "B'0'";
            case TokenKind::hex_string:
                return "X'0'";
            case TokenKind::integer:
                return "1";
            case TokenKind::decimal:
                return "1.5";
            case TokenKind::parameter:
                return "$1";
            default:
                return token.text();  // NULL, TRUE, FALSE, DEFAULT
        }
    }
    void note_word(std::string_view word) {
        if (among(kDeepening, word)) depth_.deepen();
        if (statement_start_ && among(kSessionVerbs, word)) result_.may_change_settings = true;
        if (word == "temp" || word == "temporary") result_.may_create_temporary = true;
        note_name(word);
    }
    void note_name(std::string_view name) {
        if (name == "set_config" || name == "pg_settings") result_.may_change_settings = true;
        if (name.starts_with("pg_temp")) result_.may_create_temporary = true;
        if (takes_session_lock(name)) result_.may_take_lock = true;
        if (builtin_function(name).kind == BuiltinKind::state ||
            kept_by_name(name) != Kept::What::nothing)
            result_.may_keep_state = true;
    }

    Canonical& result_;
    DepthEstimate depth_;
    bool statement_start_ = true;
};

StreamEnd write(std::string_view sql, Detail detail, Canonical& result) {
    result = {};
    TextSink sink{result};
    TokenStream stream{sql, detail, sink};
    const StreamEnd end = stream.run();
    sink.finish();
    result.hint = stream.hint();
    result.options =
        options_in(stream.leading_options()).overlaid_by(options_in(stream.trailing_options()));
    result.junk_number = stream.saw_junk();
    return end;
}

}  // namespace

Canonical canonical(std::string_view sql) {
    Canonical result;
    StreamEnd end = write(sql, Detail::folded, result);
    if (end == StreamEnd::needs_exact) end = write(sql, Detail::exact, result);
    if (end == StreamEnd::invalid) {
        result = {};
        result.valid = false;
    }
    return result;
}

}  // namespace pgsteer::routing
