#include "routing/function_body.hpp"

#include "routing/builtins.hpp"

#include <algorithm>
#include <array>

namespace pgsteer::routing {
namespace {

constexpr std::size_t kMaxNames = 256;

struct Word {
    std::string text;  // in lower case; a character that is no part of a name stands for itself
    std::size_t end = 0;
};

bool is_part(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (c & 0x80) != 0;
}

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<Word> words_of(std::string_view text) {
    std::vector<Word> words;
    for (std::size_t at = 0; at < text.size();) {
        if (is_blank(text[at])) {
            ++at;
        } else if (text.substr(at, 2) == "--") {
            at = std::min(text.find('\n', at), text.size());
        } else if (text.substr(at, 2) == "/*") {
            const auto end = text.find("*/", at + 2);
            at = end == std::string_view::npos ? text.size() : end + 2;
        } else {
            std::size_t end = at + 1;
            while (is_part(text[at]) && end < text.size() && is_part(text[end])) ++end;
            Word word{std::string{text.substr(at, end - at)}, end};
            for (char& c : word.text)
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
            words.push_back(std::move(word));
            at = end;
        }
    }
    return words;
}

class Body {
public:
    explicit Body(std::string_view text) : words_{words_of(text)} {}

    BodyFacts read() {
        for (at_ = 0; at_ < words_.size(); ++at_) {
            if (begins_statement()) note_statement();
            note_name();
            note_write();
        }
        return std::move(facts_);
    }

private:
    [[nodiscard]] std::string_view word(std::size_t at) const {
        return at < words_.size() ? std::string_view{words_[at].text} : std::string_view{};
    }
    [[nodiscard]] bool is_name(std::size_t at) const {
        return !word(at).empty() && is_part(word(at).front());
    }
    [[nodiscard]] bool begins_statement() const {
        static constexpr std::array<std::string_view, 9> kBefore{
            ";", "'", "\"", "$", "begin", "{", "then", "else", "loop"};
        return at_ == 0 ||
               std::find(kBefore.begin(), kBefore.end(), word(at_ - 1)) != kBefore.end();
    }
    void note(Kept::What what) { facts_.keeps = std::max(facts_.keeps, what); }

    void note_statement() {
        const auto next = word(at_ + 1);
        if (word(at_) == "load" && next == "'") note(Kept::What::state);
        if (word(at_) == "reset" && (is_name(at_ + 1) || next == "\"" || next == "%"))
            note(Kept::What::settings);
        if (word(at_) != "set" || !(is_name(at_ + 1) || next == "\"" || next == "%") ||
            word(at_ + 1) == "constraints" || word(at_ + 1) == "transaction")
            return;
        note(word(at_ + 1) == "local" ? Kept::What::names : Kept::What::settings);
    }

    void note_name() {
        const auto name = word(at_);
        const bool is_called =
            word(at_ + 1) == "(" || (word(at_ + 1) == "\"" && word(at_ + 2) == "(");
        if (name == "_shared" || (name == "gd" && (word(at_ + 1) == "[" || word(at_ + 1) == ".")))
            note(Kept::What::state);  // PL/Perl and PL/Python: what functions share for good
        if (!is_name(at_) || !is_called) return;
        if (name == "set_config")
            return note(sets_locally() ? Kept::What::names : Kept::What::settings);
        const auto builtin = builtin_function(name).kind;
        if (builtin == BuiltinKind::state) note(Kept::What::state);
        const bool is_qualified = at_ > 1 && word(at_ - 1) == "." && is_name(at_ - 2);
        const auto schema = is_qualified ? word(at_ - 2) : std::string_view{};
        if (builtin != BuiltinKind::unknown && (schema.empty() || schema == "pg_catalog")) return;
        add(facts_.calls, schema, name);
    }

    // INSERT INTO t, UPDATE t, DELETE FROM t, MERGE INTO t, COPY t, TRUNCATE t, u.
    void note_write() {
        const auto verb = word(at_);
        const auto next = word(at_ + 1);
        if ((verb == "insert" && next == "into") || (verb == "merge" && next == "into") ||
            (verb == "delete" && next == "from"))
            note_table(at_ + 2);
        if (verb == "copy" || (verb == "update" && next != "set" && next != "of"))
            note_table(at_ + 1);
        if (verb != "truncate") return;
        auto at = note_table(next == "table" ? at_ + 2 : at_ + 1);
        while (word(at) == ",") at = note_table(at + 1);
    }

    // Returns the place behind it.
    std::size_t note_table(std::size_t at) {
        if (word(at) == "only") ++at;
        std::string_view schema;
        std::string_view name = take_name(at);
        while (word(at) == ".") {
            schema = name;
            name = take_name(++at);
        }
        if (name == "pg_settings") note(Kept::What::settings);
        if (!name.empty()) add(facts_.writes, schema, name);
        return at;
    }

    // Of a quoted name of several words the last.
    std::string_view take_name(std::size_t& at) {
        const bool is_quoted = word(at) == "\"";
        if (is_quoted) ++at;
        std::string_view name;
        while (is_name(at)) {
            name = word(at++);
            if (!is_quoted) break;
        }
        if (is_quoted && word(at) == "\"") ++at;
        return name;
    }

    static void add(BodyFacts::Names& names, std::string_view schema, std::string_view name) {
        std::pair<std::string, std::string> added{schema, name};
        if (names.size() < kMaxNames && std::find(names.begin(), names.end(), added) == names.end())
            names.push_back(std::move(added));
    }

    // The third argument of this call is true.
    [[nodiscard]] bool sets_locally() const {
        int depth = 0;
        std::string_view last;
        for (std::size_t at = at_ + 1; at < words_.size(); ++at) {
            if (word(at) == "(" || word(at) == "[") ++depth;
            if ((word(at) == ")" || word(at) == "]") && --depth == 0)
                return last == "true" && word(at - 2) == ",";
            last = word(at);
        }
        return false;
    }

    std::vector<Word> words_;
    std::size_t at_ = 0;
    BodyFacts facts_;
};

}  // namespace

BodyFacts read_body(std::string_view text) { return Body{text}.read(); }

std::string spelled_in_body(std::string_view name) {
    const auto words = words_of(name);
    const auto last = std::find_if(words.rbegin(), words.rend(),
                                   [](const Word& word) { return is_part(word.text.front()); });
    return last != words.rend() ? last->text : std::string{};
}

}  // namespace pgsteer::routing
