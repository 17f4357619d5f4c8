// Lexer and classifier against libpg_query, which is PostgreSQL's own code: tokens are cut as it
// cuts them; another text of the same key has the same Statement; what is called a read has no
// node in its own tree that writes.
#include "routing/canonical.hpp"
#include "routing/classify.hpp"
#include "routing/lexer.hpp"
#include "routing/parse_tree.hpp"
#include "routing/statement_cache.hpp"
#include "tests/fuzz/tokens.hpp"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace pgsteer::routing;
using namespace pgsteer::fuzz;

constexpr std::size_t kMaxText =
    8 * 1024;  // well below kMaxClassifiedBytes, also when it has grown
constexpr std::size_t kMaxKeys = 20'000;
constexpr int kVariants = 2;

bool is_text_literal(const Token& token) {
    return token.kind >= TokenKind::string && token.kind <= TokenKind::hex_string;
}

// --- against pg_query_scan ---

bool kind_agrees(TokenKind ours, const PgQuery__ScanToken& theirs, std::string_view text) {
    const auto token = theirs.token;
    const bool is_keyword = theirs.keyword_kind != PG_QUERY__KEYWORD_KIND__NO_KEYWORD;
    switch (ours) {
        case TokenKind::word:
            return is_keyword || (token == PG_QUERY__TOKEN__IDENT && text[0] != '"');
        case TokenKind::quoted:
            return token == PG_QUERY__TOKEN__IDENT && text[0] == '"';
        case TokenKind::unicode_quoted:
            return token == PG_QUERY__TOKEN__UIDENT;
        case TokenKind::string:
            return token == PG_QUERY__TOKEN__SCONST || token == PG_QUERY__TOKEN__USCONST;
        case TokenKind::national_string:  // the keyword NCHAR, and a string
            return token == PG_QUERY__TOKEN__NCHAR;
        case TokenKind::bit_string:
            return token == PG_QUERY__TOKEN__BCONST;
        case TokenKind::hex_string:
            return token == PG_QUERY__TOKEN__XCONST;
        case TokenKind::integer:
            return token == PG_QUERY__TOKEN__ICONST;
        case TokenKind::decimal:
            return token == PG_QUERY__TOKEN__FCONST;
        case TokenKind::parameter:
            return token == PG_QUERY__TOKEN__PARAM;
        case TokenKind::op:
            return token < PG_QUERY__TOKEN__IDENT ||
                   (token >= PG_QUERY__TOKEN__TYPECAST && token <= PG_QUERY__TOKEN__NOT_EQUALS) ||
                   token == PG_QUERY__TOKEN__Op;
        default:
            return false;
    }
}

bool is_comment(const PgQuery__ScanToken& token) {
    return token.token == PG_QUERY__TOKEN__SQL_COMMENT || token.token == PG_QUERY__TOKEN__C_COMMENT;
}

class Comparison {
public:
    Comparison(std::string_view sql, const Tokens& ours, const PgQuery__ScanResult& theirs)
        : sql_(sql), ours_(ours.list), theirs_(theirs) {}

    void run() {
        for (const Token& token : ours_) {
            skip_space(static_cast<std::size_t>(token.data - sql_.data()));
            if (!token_agrees(token)) return;
        }
        skip_space(sql_.size());
        require(next_ == theirs_.n_tokens, "fewer tokens than PostgreSQL", sql_);
    }

private:
    // Between two tokens of ours: comments where it has comments, and blanks.
    void skip_space(std::size_t end) {
        while (at_ < end) {
            if (next_ < theirs_.n_tokens && is_comment(theirs()) && begin(theirs()) == at_) {
                at_ = static_cast<std::size_t>(theirs().end);
                ++next_;
            } else {
                require(std::string_view{" \t\n\r\f"}.find(sql_[at_]) != std::string_view::npos,
                        "neither a comment nor a blank", sql_, sql_.substr(at_));
                ++at_;
            }
        }
        require(at_ == end, "a comment runs into a token", sql_, sql_.substr(end));
    }

    // False: libpg_query goes its own way from here on.
    bool token_agrees(const Token& token) {
        require(next_ < theirs_.n_tokens, "more tokens than PostgreSQL", sql_, token.text());
        const auto& their = theirs();
        // Of U&'..' and U&".." it gives no extent.
        const bool has_extent =
            (*token.data | 0x20) != 'u' || token.size < 2 || token.data[1] != '&';
        if (has_extent) require(begin(their) == at_, "another beginning", sql_, token.text());
        require(kind_agrees(token.kind, their, token.text()), "another kind", sql_, token.text());
        ++next_;
        std::size_t end = static_cast<std::size_t>(their.end);
        if (token.kind == TokenKind::national_string) {
            require(next_ < theirs_.n_tokens && theirs().token == PG_QUERY__TOKEN__SCONST,
                    "no string behind N", sql_, token.text());
            end = static_cast<std::size_t>(theirs().end);
            ++next_;
        }
        at_ += token.size;
        if (!has_extent) end = at_;
        // To PostgreSQL 'a' --x<newline> 'b' is one literal; libpg_query, which keeps comments,
        // ends it at the comment. Whether E'' or '' follows, it does not know then.
        if (is_text_literal(token) && next_ < theirs_.n_tokens && begin(theirs()) < at_) {
            require(theirs().token == PG_QUERY__TOKEN__SQL_COMMENT, "a literal ends earlier", sql_,
                    token.text());
            return false;
        }
        require(end == at_, "another end", sql_, token.text());
        return true;
    }

    [[nodiscard]] const PgQuery__ScanToken& theirs() const { return *theirs_.tokens[next_]; }
    static std::size_t begin(const PgQuery__ScanToken& token) {
        return static_cast<std::size_t>(token.start);
    }

    std::string_view sql_;
    const std::vector<Token>& ours_;
    const PgQuery__ScanResult& theirs_;
    std::size_t next_ = 0;  // of theirs
    std::size_t at_ = 0;    // in the text
};

void compare_with_scan(const std::string& sql, const Tokens& tokens) {
    const PgQueryScanResult result = pg_query_scan(sql.c_str());
    if (result.error == nullptr) {
        require(tokens.complete, "no end found where PostgreSQL finds one", sql);
        require(!tokens.junk, "junk that PostgreSQL does not see", sql);
        auto* theirs = pg_query__scan_result__unpack(
            nullptr, result.pbuf.len, reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
        Comparison{sql, tokens, *theirs}.run();
        pg_query__scan_result__free_unpacked(theirs, nullptr);
    }
    pg_query_free_scan_result(result);
}

// --- against the tree of the text itself, not of its canonical form ---

bool writes(std::string_view node) {
    for (const char* writer :
         {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "IntoClause", "LockingClause"})
        if (node == writer) return true;
    return false;
}

bool is_read(const Message* statement) {
    if (as<PgQuery__SelectStmt>(statement) != nullptr) return true;
    if (as<PgQuery__ExplainStmt>(statement) != nullptr) return true;
    const auto* copy = as<PgQuery__CopyStmt>(statement);
    return copy != nullptr && !copy->is_from && !copy->is_program && copy->filename[0] == '\0';
}

bool has_effect(const PgQuery__FuncCall& call) {
    const std::string_view name = string_of(call.funcname[call.n_funcname - 1]);
    return name == "nextval" || name == "setval" || name == "set_config" || name == "pg_notify" ||
           name.starts_with("pg_advisory_lock") || name.starts_with("lo_");
}

void require_read(const Message* root, const std::string& sql) {
    require(is_read(root), "not a read", sql, root->descriptor->short_name);
    walk(root, [&](const Message* message) {
        require(!writes(message->descriptor->short_name), "a read that writes", sql,
                message->descriptor->short_name);
        if (const auto* call = as<PgQuery__FuncCall>(message))
            require(!has_effect(*call), "a read with an effect", sql);
        return true;
    });
}

// Its values call nothing.
void require_plain_execute(const Message* root, const std::string& sql) {
    require(as<PgQuery__ExecuteStmt>(root) != nullptr, "executes nothing", sql);
    walk(root, [&](const Message* message) {
        const std::string_view node = message->descriptor->short_name;
        for (const char* other :
             {"FuncCall", "SubLink", "ColumnRef", "CaseExpr", "SQLValueFunction"})
            require(node != other, "EXECUTE with more than constants", sql, node);
        if (const auto* call = as<PgQuery__AExpr>(message)) {
            const std::string_view sign = string_of(call->name[call->n_name - 1]);
            require(call->n_name == 1 && (sign == "-" || sign == "+"), "EXECUTE with an operator",
                    sql, sign);
        }
        return true;
    });
}

void compare_with_parse(const std::string& sql, const Statement& statement) {
    if (statement.reason == Reason::too_complex) return;  // may be too much for libpg_query, too
    const ParseTree tree = parse(sql);
    if (!tree.root) return;
    require(statement.reason != Reason::syntax_error, "PostgreSQL parses it", sql,
            statement.detail);
    require(statement.statement_count == tree.root->n_stmts, "another number of statements", sql);
    for (std::size_t i = 0; i < tree.root->n_stmts; ++i) {
        const Message* root = inside(tree.root->stmts[i]->stmt);
        if (statement.access == Access::read_only) require_read(root, sql);
        if (statement.prepares) {
            const auto* prepare = as<PgQuery__PrepareStmt>(root);
            require(prepare != nullptr, "prepares nothing", sql);
            if (statement.prepares->statement.access == Access::read_only)
                require_read(inside(prepare->query), sql);
        }
        if (!statement.executes.empty()) require_plain_execute(root, sql);
    }
}

// --- Statements in full ---

std::string number(long long value) { return std::to_string(value) + " "; }

template <class Value>
std::string number(const std::optional<Value>& value) {
    return value ? number(static_cast<long long>(*value)) : "- ";
}

std::string printed(const TransactionModes& modes) {
    return number(modes.isolation) + number(modes.read_only);
}

std::string printed(const ReadOptions& options) {
    const auto milliseconds = [](const auto& wait) {
        return wait ? number(wait->count()) : std::string{"- "};
    };
    return number(options.consistency) + milliseconds(options.freshness_wait) +
           milliseconds(options.max_staleness) +
           (options.min_lsn ? to_string(*options.min_lsn) : "-") + " " + number(options.explain);
}

std::string printed(const Effect& effect) {
    return number(static_cast<int>(effect.kind)) + number(effect.statement_index) + "name " +
           effect.name + " sql " + effect.sql + " value " + effect.value + " modes " +
           printed(effect.modes);
}

std::string printed(const Statement& s) {
    std::string text =
        number(static_cast<int>(s.access)) + number(static_cast<int>(s.reason)) +
        number(static_cast<int>(s.hint)) + number(s.statement_count) + number(s.raises_floor) +
        number(s.copies_in) + number(static_cast<int>(s.in_transaction)) + number(s.uses_cursor) +
        number(static_cast<int>(s.if_harmless)) + number(static_cast<int>(s.catalog_change)) +
        number(static_cast<int>(s.may_follow())) + printed(s.options) + s.detail + " executes " +
        s.executes;
    for (const Effect& effect : s.effects) text += "\neffect " + printed(effect);
    s.uses.for_each([&](const Use& use) {
        text += std::string{"\nuse "} + static_cast<char>(use.kind) + number(use.is_builtin) +
                use.spelled();
        return true;
    });
    if (s.prepares) text += "\nprepares " + printed(s.prepares->statement);
    return text;
}

// --- a second text of the same key ---

// As lexer.hpp and token_stream.hpp say: in such a text every literal is part of the key.
bool literals_decide(const std::vector<Token>& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const Token& token = tokens[i];
        if (token.kind == TokenKind::unicode_quoted) return true;
        if (token.kind != TokenKind::word && token.kind != TokenKind::quoted) continue;
        std::string name{token.kind == TokenKind::word ? token.text()
                                                       : token.text().substr(1, token.size - 2)};
        for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        const bool starts = i == 0 || is(tokens[i - 1], ';');
        if (name == "uescape" || name == "set_config" || name == "current_setting") return true;
        if ((name == "set" || name == "prepare") && starts) return true;
    }
    return false;
}

class Variant {
public:
    Variant(std::string_view sql, const std::vector<Token>& tokens, std::uint32_t seed)
        : sql_(sql), tokens_(tokens), exact_(literals_decide(tokens)), random_(seed) {}

    std::string make() {
        const char* at = sql_.data();
        for (std::size_t i = 0; i < tokens_.size(); ++i) {
            text_.append(at, tokens_[i].data);
            at = tokens_[i].data + tokens_[i].size;
            add_space(i);
            add_token(i);
            const std::size_t elements = exact_ ? 0 : list_that_ends(i);
            if (elements > 0) add_row_behind(i, elements);
        }
        return text_.append(at, sql_.data() + sql_.size());
    }

private:
    bool one_in(std::uint32_t n) { return random_() % n == 0; }
    template <std::size_t size>
    const char* any(const char* const (&choices)[size]) {
        return choices[random_() % size];
    }

    // A new line between two literals could make them one.
    bool beside_text_literal(std::size_t i) const {
        return (i > 0 && is_text_literal(tokens_[i - 1])) ||
               (i + 1 < tokens_.size() && is_text_literal(tokens_[i + 1]));
    }

    void add_space(std::size_t i) {
        if (!one_in(3)) return;
        if (beside_text_literal(i) || is_text_literal(tokens_[i]))
            text_ += any({" ", "\t", " /**/ ", " /* ' */ "});
        else
            text_ += any({" ", "\n", "\r\f", " -- don't\n", " /* \" /* $$ */ */", " --\r"});
    }

    void add_token(std::size_t i) {
        const Token& token = tokens_[i];
        if (token.kind == TokenKind::word) return add_word(token.text());
        const char* value = exact_ ? nullptr : other_value(i);
        if (value == nullptr || one_in(3))
            text_ += token.text();
        else
            text_.append(" ").append(value).append(" ");
        if (!exact_ && is(token, ',') && in_list(i) && one_in(2)) text_.append(" 'more', ");
    }

    void add_word(std::string_view word) {
        for (const char c : word) {
            const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            text_ += letter && one_in(2) ? static_cast<char>(c ^ 0x20) : c;
        }
    }

    const char* other_value(std::size_t i) {
        const Token& token = tokens_[i];
        switch (token.kind) {
            case TokenKind::string:
                if (!beside_text_literal(i))
                    return any({"'q'", "''", "'it''s -- /*'", "$$q$$", "$a$ $b$ ' $a$", "E'\\''",
                                "U&'q'", "'\\'"});
                return *token.data == '$' ? "$q$q$q$" : *token.data == '\'' ? "'q'" : nullptr;
            case TokenKind::national_string:
                return any({"N'q'", "n'it''s'"});
            case TokenKind::bit_string:
                return any({"B'01'", "b''"});
            case TokenKind::hex_string:
                return any({"X'aF'", "x''"});
            case TokenKind::integer:
                return any({"77", "0", "2147483647", "007"});
            case TokenKind::decimal:
                return any({"7.75", ".5", "1e9", "2147483648", "1."});
            case TokenKind::parameter:
                return any({"$99", "$1"});
            default:
                return nullptr;
        }
    }

    // Lists of literals count as one, whatever their length. The element of one that begins at i;
    // the place behind it, or i: there is none.
    std::size_t element_end(std::size_t i) const {
        if (i >= tokens_.size()) return i;
        const Token& token = tokens_[i];
        if (token.kind >= TokenKind::string && token.kind <= TokenKind::parameter) return i + 1;
        if ((is(token, '-') || is(token, '+')) && i + 1 < tokens_.size()) {
            const auto kind = tokens_[i + 1].kind;
            return kind == TokenKind::integer || kind == TokenKind::decimal ? i + 2 : i;
        }
        if (token.kind != TokenKind::word) return i;
        for (const char* name : {"null", "true", "false", "default"})
            if (same_name(token, name)) return i + 1;
        return i;
    }

    static bool same_name(const Token& token, std::string_view lower) {
        const std::string_view text = token.text();
        return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                          [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
    }

    struct List {
        std::size_t end = 0;  // the closing bracket
        std::size_t elements = 0;
    };
    // The list whose bracket opens at i; no elements: it is none.
    List list_at(std::size_t i) const {
        if (!is(tokens_[i], '(') && !is(tokens_[i], '[')) return {};
        List list;
        for (std::size_t at = i + 1;;) {
            const std::size_t behind = element_end(at);
            if (behind == at || behind >= tokens_.size()) return {};
            ++list.elements;
            if (is(tokens_[behind], is(tokens_[i], '(') ? ')' : ']')) {
                list.end = behind;
                return list;
            }
            if (!is(tokens_[behind], ',')) return {};
            at = behind + 1;
        }
    }

    // Whether the comma at i separates elements of such a list.
    bool in_list(std::size_t i) const {
        for (std::size_t open = i; open-- > 0;) {
            if (is(tokens_[open], '(') || is(tokens_[open], '[')) {
                const List list = list_at(open);
                return list.elements > 0 && i < list.end;
            }
        }
        return false;
    }

    // Elements of the list in round brackets that is closed at i, if it is the first of its rows;
    // 0: none, or the one of IN.
    std::size_t list_that_ends(std::size_t i) const {
        if (!is(tokens_[i], ')')) return 0;
        for (std::size_t open = i; open-- > 0;) {
            if (!is(tokens_[open], '(')) continue;
            const List list = list_at(open);
            if (list.elements == 0 || list.end != i) return 0;
            const bool of_in = open > 0 && tokens_[open - 1].kind == TokenKind::word &&
                               same_name(tokens_[open - 1], "in");
            return of_in ? 0 : list.elements;
        }
        return 0;
    }

    void add_row_behind(std::size_t i, std::size_t elements) {
        // Behind IN (1), (2) the second list has no rows of its own: IN takes none.
        if (one_in(2) || (i + 1 < tokens_.size() && is(tokens_[i + 1], '['))) return;
        text_ += elements == 1 ? ", (NULL)" : ", (-5, 'q')";
    }

    std::string_view sql_;
    const std::vector<Token>& tokens_;
    bool exact_;  // literals have to stay
    std::mt19937 random_;
    std::string text_;
};

void compare_with_variant(const std::string& sql,
                          const std::vector<Token>& tokens,
                          const std::string& statement,
                          std::uint32_t seed) {
    const std::string other = Variant{sql, tokens, seed}.make();
    require(lex(other, kSecret).key == lex(sql, kSecret).key, "another key", sql, other);
    const std::string theirs = printed(classify(other));
    if (theirs != statement)
        std::fprintf(stderr, "<%s>\n<%s>\n", statement.c_str(), theirs.c_str());
    require(theirs == statement, "equal keys, other Statement", sql, other);
}

// Whatever texts of one key came by in this run: they had this Statement.
void compare_with_earlier(const std::string& sql, const std::string& statement) {
    static std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> seen;
    if (seen.size() >= kMaxKeys) seen.clear();
    const StatementKey key = lex(sql, kSecret).key;
    const auto [entry, is_new] =
        seen.emplace(std::pair{key.high, key.low}, canonical(sql).text + "\n" + statement);
    if (!is_new)
        require(entry->second == canonical(sql).text + "\n" + statement,
                "the same key as an earlier text, other Statement", sql, entry->second);
}

// Where the values of literals decide, another one has to give another key.
void check_that_literals_decide(const std::string& sql, const std::vector<Token>& tokens) {
    if (!literals_decide(tokens)) return;
    for (const Token& token : tokens) {
        if (token.kind != TokenKind::integer) continue;
        std::string other = sql;
        const auto at = static_cast<std::size_t>(token.data - sql.data());
        other.replace(at, token.size, token.text() == "1" ? "2" : "1");
        require(lex(other, kSecret).key != lex(sql, kSecret).key, "a value is not in the key", sql,
                other);
        return;
    }
}

std::uint32_t seed_of(std::string_view sql) {
    std::uint32_t seed = 2166136261U;
    for (const char c : sql) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619U;
    return seed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > kMaxText) return 0;
    const std::string sql{reinterpret_cast<const char*>(data), size};
    if (sql.find('\0') != std::string::npos) return 0;
    const Tokens tokens = scan(sql);
    require(tokens.complete == lex(sql, kSecret).valid, "lex and scanner disagree", sql);
    compare_with_scan(sql, tokens);

    const Statement statement = classify(sql);
    const std::string in_full = printed(statement);
    compare_with_earlier(sql, in_full);
    compare_with_parse(sql, statement);
    if (!tokens.complete || tokens.junk) return 0;
    check_that_literals_decide(sql, tokens.list);
    for (int i = 0; i < kVariants; ++i)
        compare_with_variant(sql, tokens.list, in_full,
                             seed_of(sql) + static_cast<std::uint32_t>(i));
    return 0;
}
