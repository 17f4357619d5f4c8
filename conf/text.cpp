#include "conf/text.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace pgsteer::conf {
namespace {

bool is_name_character(char c, bool first) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

bool is_variable_name(std::string_view name) {
    for (std::size_t i = 0; i < name.size(); ++i)
        if (!is_name_character(name[i], i == 0)) return false;
    return !name.empty();
}

char lowered(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Levenshtein distance plus swaps of neighbours, upper and lower case alike.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> cost(a.size() + 1,
                                               std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
    const auto same = [&](std::size_t i, std::size_t j) { return lowered(a[i]) == lowered(b[j]); };
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = cost[i - 1][j - 1] + (same(i - 1, j - 1) ? 0 : 1);
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
            if (i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1))
                cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a.size()][b.size()];
}

}  // namespace

std::string printable(std::string_view text) {
    constexpr std::size_t kLongest = 60;
    std::string out;
    for (const char c : text.substr(0, kLongest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    if (text.size() > kLongest) out += "...";
    return out;
}

Parsed<std::string> expand_environment(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        if (text.starts_with("$${")) {
            out += "${";
            text.remove_prefix(3);
        } else if (text.starts_with("${")) {
            const auto close = text.find('}');
            const auto name = std::string{text.substr(2, close == text.npos ? close : close - 2)};
            if (close == text.npos || !is_variable_name(name))
                return {std::nullopt,
                        fmt::format("'${{' must be followed by the name of an environment variable "
                                    "and '}}' (write $${{ for a plain ${{)")};
            const char* value = std::getenv(name.c_str());
            if (value == nullptr)
                return {std::nullopt,
                        fmt::format("the environment variable {} is not set", printable(name))};
            out += value;
            text.remove_prefix(close + 1);
        } else {
            out += text.front();
            text.remove_prefix(1);
        }
    }
    return {std::move(out), {}};
}

Parsed<std::string> read_file(const std::string& path, std::size_t max_bytes) {
    const auto failed = [](int reason) {
        return Parsed<std::string>{std::nullopt,
                                   fmt::format("cannot be read: {}", std::strerror(reason))};
    };
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(path.c_str(), "rb"),
                                                               &std::fclose};
    if (!file) return failed(errno);
    std::string content(max_bytes + 1, '\0');
    errno = 0;
    content.resize(std::fread(content.data(), 1, content.size(), file.get()));
    if (std::ferror(file.get()) != 0) return failed(errno);
    if (content.size() > max_bytes)
        return {std::nullopt, fmt::format("is larger than {} bytes", max_bytes)};
    return {std::move(content), {}};
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
    constexpr std::size_t kLongestWord = 40;  // longer ones are no slip of a short key
    if (word.empty() || word.size() > kLongestWord) return std::nullopt;
    std::optional<std::string> best;
    std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(word, candidate);
        if (distance >= best_distance) continue;
        best_distance = distance;
        best = candidate;
    }
    return best;
}

}  // namespace pgsteer::conf
