#include "routing/search_path.hpp"

#include <algorithm>

namespace pgsteer::routing {
namespace {

constexpr std::size_t kMaxNameBytes = 63;  // NAMEDATALEN - 1

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void skip_blanks(std::string_view& text) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

std::optional<std::string> quoted_name(std::string_view& text) {
    std::string name;
    text.remove_prefix(1);
    for (;;) {
        const auto quote = text.find('"');
        if (quote == std::string_view::npos) return std::nullopt;
        name.append(text.substr(0, quote));
        text.remove_prefix(quote + 1);
        if (!text.starts_with('"')) return name;
        name.push_back('"');
        text.remove_prefix(1);
    }
}

// Letters beyond ASCII are folded by the server's locale: not known here.
std::optional<std::string> plain_name(std::string_view& text) {
    std::string name;
    while (!text.empty() && text.front() != ',' && !is_blank(text.front())) {
        char c = text.front();
        if (static_cast<unsigned char>(c) >= 0x80 || c == '"') return std::nullopt;
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
        name.push_back(c);
        text.remove_prefix(1);
    }
    if (name.empty()) return std::nullopt;
    return name;
}

}  // namespace

bool SearchPath::may_hold(std::string_view schema) const {
    return !is_known || schema == "pg_catalog" ||
           std::find(schemas.begin(), schemas.end(), schema) != schemas.end();
}

SearchPath parse_search_path(std::string_view value, std::string_view role) {
    SearchPath path{true, {}};
    skip_blanks(value);
    while (!value.empty()) {
        auto name = value.front() == '"' ? quoted_name(value) : plain_name(value);
        if (!name) return {};
        if (name->size() > kMaxNameBytes) return {};  // cut by the server, at a character's end
        if (*name == "$user") {
            if (role.empty()) return {};
            *name = role;
        }
        path.schemas.push_back(std::move(*name));
        skip_blanks(value);
        if (value.empty()) break;
        if (value.front() != ',') return {};
        value.remove_prefix(1);
        skip_blanks(value);
        if (value.empty()) return {};
    }
    return path;
}

std::string quote_identifier(std::string_view name) {
    std::string quoted{'"'};
    for (const char c : name) {
        if (c == '"') quoted.push_back(c);
        quoted.push_back(c);
    }
    return quoted + '"';
}

// With a backslash in it as E'...', which no setting reads otherwise.
std::string quote_literal(std::string_view text) {
    std::string quoted{text.find('\\') == std::string_view::npos ? "'" : "E'"};
    for (const char c : text) {
        if (c == '\'' || c == '\\') quoted.push_back(c);
        quoted.push_back(c);
    }
    return quoted + '\'';
}

}  // namespace pgsteer::routing
