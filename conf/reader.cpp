#include "conf/reader.hpp"

#include "conf/text.hpp"
#include "conf/units.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace pgsteer::conf {
namespace {

constexpr std::size_t kMaxSecretBytes = 64 * 1024;

std::string_view kind_name(YamlNode::Kind kind) {
    switch (kind) {
        case YamlNode::Kind::null:
            return "nothing";
        case YamlNode::Kind::scalar:
            return "a single value";
        case YamlNode::Kind::sequence:
            return "a list";
        case YamlNode::Kind::mapping:
            return "a mapping";
    }
    return "nothing";
}

std::string expected(std::string_view wanted, const YamlNode& found) {
    return fmt::format("expected {}, found {}", wanted, kind_name(found.kind));
}

std::string joined(const std::string& path, std::string_view key) {
    return path.empty() ? printable(key) : path + "." + printable(key);
}

std::string listed(std::span<const std::string> words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}

}  // namespace

void Document::report(Place place, std::string key_path, std::string message) {
    troubled_paths_.insert(key_path);
    problems_.push_back({file_, place.line, place.column, std::move(key_path), std::move(message)});
}

void Document::report(const std::string& key_path, std::string message) {
    std::string around = key_path;
    auto found = places_.find(around);
    while (found == places_.end() && !around.empty()) {
        const auto cut = around.find_last_of(".[");
        around.resize(cut == std::string::npos ? 0 : cut);
        found = places_.find(around);
    }
    report(found == places_.end() ? Place{1, 1} : found->second, key_path, std::move(message));
}

bool Document::has_problem_at(const std::string& key_path) const {
    return troubled_paths_.contains(key_path);
}

std::vector<Problem> Document::take_problems() {
    std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
        return std::pair{a.line, a.column} < std::pair{b.line, b.column};
    });
    return std::exchange(problems_, {});
}

Reader::Reader(Document& document, std::shared_ptr<const YamlNode> mapping, std::string path)
    : document_{&document}, mapping_{std::move(mapping)}, path_{std::move(path)} {
    if (mapping_->kind != YamlNode::Kind::mapping) {
        document_->report(mapping_->place, path_, expected("a mapping (key: value)", *mapping_));
        mapping_ = empty_mapping(mapping_->place);
        is_mapping_ = false;
    }
    document_->remember(path_, mapping_->place);
    index_keys();
}

void Reader::index_keys() {
    for (std::size_t i = 0; i + 1 < mapping_->items.size(); i += 2) {
        const YamlNode& key = *mapping_->items[i];
        if (key.kind != YamlNode::Kind::scalar) {
            document_->report(key.place, path_, "a key must be a plain word");
            continue;
        }
        const auto [entry, is_new] =
            entries_.try_emplace(key.text, Entry{key.place, mapping_->items[i + 1]});
        if (!is_new)
            document_->report(
                key.place, path_of(key.text),
                fmt::format("given twice, first on line {}", entry->second.key_place.line));
    }
}

std::string Reader::path_of(std::string_view key) const { return joined(path_, key); }

void Reader::report(std::string_view key, std::string message) {
    const Entry* entry = find(key);
    document_->report(entry ? entry->value->place : mapping_->place, path_of(key),
                      std::move(message));
}

const Reader::Entry* Reader::find(std::string_view key) const {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
}

const Reader::Entry* Reader::take(std::string_view key) {
    known_keys_.emplace_back(key);
    supported_keys_.emplace_back(key);
    const Entry* entry = find(key);
    if (entry) document_->remember(path_of(key), entry->value->place);
    return entry;
}

std::optional<std::string> Reader::take_text(std::string_view key) {
    const Entry* entry = take(key);
    if (!entry) return std::nullopt;
    if (entry->value->kind == YamlNode::Kind::scalar) return expand(key, entry->value->text);
    report(key, entry->value->kind == YamlNode::Kind::null
                    ? "a value is missing"
                    : expected("a single value", *entry->value));
    return std::nullopt;
}

std::optional<std::string> Reader::expand(std::string_view key, const std::string& text) {
    auto [expanded, error] = expand_environment(text);
    if (!expanded) report(key, std::move(error));
    return std::move(expanded);
}

bool Reader::read(std::string_view key, std::string& out, Presence presence) {
    auto text = take_text(key);
    if (!text) {
        if (presence == Presence::required && is_mapping_ && !has(key)) report(key, "is required");
        return false;
    }
    if (presence == Presence::required && text->empty()) {
        report(key, "must not be empty");
        return false;
    }
    const auto is_control = [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    };
    if (std::any_of(text->begin(), text->end(), is_control)) {
        report(key, fmt::format("'{}' holds a control character", printable(*text)));
        return false;
    }
    out = std::move(*text);
    return true;
}

bool Reader::read(std::string_view key, std::vector<std::string>& out) {
    const Entry* entry = take(key);
    if (!entry || entry->value->kind == YamlNode::Kind::null) return false;
    if (entry->value->kind != YamlNode::Kind::sequence) {
        report(key, expected("a list", *entry->value));
        return false;
    }
    std::vector<std::string> texts;
    for (const auto& item : entry->value->items) {
        const std::string path = fmt::format("{}[{}]", path_of(key), texts.size());
        texts.emplace_back();
        if (item->kind != YamlNode::Kind::scalar) {
            document_->report(item->place, path, expected("a single value", *item));
            continue;
        }
        auto [expanded, error] = expand_environment(item->text);
        if (!expanded) document_->report(item->place, path, std::move(error));
        if (expanded) texts.back() = std::move(*expanded);
    }
    out = std::move(texts);
    return true;
}

bool Reader::read(std::string_view key, bool& out) {
    const auto text = take_text(key);
    if (!text) return false;
    auto [value, error] = parse_boolean(*text);
    if (!value) report(key, std::move(error));
    out = value.value_or(out);
    return value.has_value();
}

template <class T, class Parse, class Print>
std::optional<T> Reader::take_in_range(std::string_view key,
                                       Range<T> range,
                                       Parse parse,
                                       Print print) {
    const auto text = take_text(key);
    if (!text) return std::nullopt;
    auto [value, error] = parse(*text);
    if (!value) {
        report(key, std::move(error));
        return std::nullopt;
    }
    if (*value < range.low || *value > range.high) {
        report(key, fmt::format("{} is outside {}..{}", printable(*text), print(range.low),
                                print(range.high)));
        return std::nullopt;
    }
    return *value;
}

bool Reader::read(std::string_view key, int& out, Range<int> range) {
    const Range<std::int64_t> wide{range.low, range.high};
    const auto value = take_in_range(key, wide, parse_integer, std::identity{});
    if (value) out = static_cast<int>(*value);
    return value.has_value();
}

bool Reader::read(std::string_view key, std::uint16_t& out, Range<int> range) {
    int value = out;
    if (!read(key, value, range)) return false;
    out = static_cast<std::uint16_t>(value);
    return true;
}

bool Reader::read(std::string_view key, double& out, Range<double> range) {
    const auto value = take_in_range(key, range, parse_decimal, std::identity{});
    out = value.value_or(out);
    return value.has_value();
}

bool Reader::read(std::string_view key, milliseconds& out, Range<milliseconds> range) {
    const auto value = take_in_range(key, range, parse_duration, format_duration);
    out = value.value_or(out);
    return value.has_value();
}

bool Reader::read(std::string_view key, std::size_t& bytes, Range<std::size_t> range) {
    const auto value = take_in_range(key, range, parse_size, format_size);
    bytes = value.value_or(bytes);
    return value.has_value();
}

bool Reader::read(std::string_view key, Secret& out) {
    auto text = take_text(key);
    if (!text) return false;
    if (text->empty()) {
        report(key, "must not be empty");
        return false;
    }
    if (text->find('\0') != std::string::npos) {
        report(key, "holds a NUL byte");
        return false;
    }
    out = Secret{std::move(*text)};
    return true;
}

bool Reader::read_secret_or_file(std::string_view key, Secret& out) {
    const std::string file_key = std::string{key} + "_file";
    const bool from_text = read(key, out);
    std::string path;
    if (!read(file_key, path, has(file_key) ? Presence::required : Presence::optional))
        return from_text;
    if (has(key)) {
        report(file_key, fmt::format("cannot be given together with {}", key));
        return false;
    }
    if (!path.starts_with('/') && !document_->directory().empty())
        path = document_->directory() + "/" + path;
    auto [content, error] = read_file(path, kMaxSecretBytes);
    if (content) {
        if (content->ends_with('\n')) content->pop_back();
        if (content->empty()) error = "is empty";
        if (content->find('\0') != std::string::npos) error = "holds a NUL byte";
    }
    if (!error.empty()) {
        report(file_key, printable(path) + " " + error);
        return false;
    }
    out = Secret{std::move(*content)};
    return true;
}

Reader Reader::section(std::string_view key) {
    const Entry* entry = take(key);
    if (!entry || entry->value->kind == YamlNode::Kind::null)
        return {*document_, empty_mapping(entry ? entry->value->place : mapping_->place),
                path_of(key)};
    return {*document_, entry->value, path_of(key)};
}

std::vector<Reader> Reader::list(std::string_view key) {
    const Entry* entry = take(key);
    std::vector<Reader> readers;
    if (!entry || entry->value->kind == YamlNode::Kind::null) return readers;
    if (entry->value->kind != YamlNode::Kind::sequence) {
        report(key, expected("a list", *entry->value));
        return readers;
    }
    for (const auto& item : entry->value->items)
        readers.emplace_back(*document_, item, fmt::format("{}[{}]", path_of(key), readers.size()));
    return readers;
}

void Reader::unsupported(std::string_view key) {
    known_keys_.emplace_back(key);
    if (const Entry* entry = find(key))
        document_->report(entry->key_place, path_of(key), "not supported yet");
}

void Reader::reject_unknown_keys() {
    for (const auto& [key, entry] : entries_) {
        if (std::find(known_keys_.begin(), known_keys_.end(), key) != known_keys_.end()) continue;
        std::string message = "unknown key";
        if (key == "<<")
            message = "merge keys are not supported";
        else if (const auto suggestion = nearest(key, supported_keys_))
            message += fmt::format(", did you mean {}?", *suggestion);
        else
            message += fmt::format(" (known here: {})", listed(supported_keys_));
        document_->report(entry.key_place, path_of(key), std::move(message));
    }
}

void Reader::report_choice(std::string_view key,
                           const std::string& text,
                           std::span<const std::string_view> supported) {
    std::string choices;
    for (const std::string_view choice : supported)
        choices.append(choices.empty() ? "" : ", ").append(choice);
    const std::string_view be = supported.size() == 1 ? "not" : "not one of";
    report(key, fmt::format("'{}' is {} {}", printable(text), be, choices));
}

}  // namespace pgsteer::conf
