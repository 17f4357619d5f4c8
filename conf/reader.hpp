// Typed access to YAML: each value comes with its key path, line and column, and everything that is
// wrong is collected instead of thrown.
#pragma once

#include "conf/config.hpp"
#include "conf/loader.hpp"
#include "conf/yaml.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::conf {

// What the readers of one document share: where its values stand, and what is wrong with them.
class Document {
public:
    Document(std::string file, std::string directory)
        : file_{std::move(file)}, directory_{std::move(directory)} {}

    void report(Place place, std::string key_path, std::string message);
    // A problem found later, by key path only: it gets the place of that key, or of the nearest one
    // around it that is in the text.
    void report(const std::string& key_path, std::string message);
    [[nodiscard]] bool has_problem_at(const std::string& key_path) const;
    void remember(const std::string& key_path, Place place) { places_[key_path] = place; }
    [[nodiscard]] const std::string& directory() const { return directory_; }
    // In order of place.
    [[nodiscard]] std::vector<Problem> take_problems();

private:
    std::string file_;
    std::string directory_;
    std::map<std::string, Place> places_;
    std::set<std::string> troubled_paths_;
    std::vector<Problem> problems_;
};

template <class T>
struct Range {
    T low;
    T high;  // inclusive
};

template <class Enum>
struct Choice {
    std::string_view text;
    std::optional<Enum> value;  // nullopt: known, but not supported yet
};

enum class Presence : std::uint8_t { optional, required };

// One mapping. Reading a key that is absent leaves the default untouched; every call marks its key
// as known, and reject_unknown_keys() complains of the rest. All return whether a value was read.
class Reader {
public:
    Reader(Document& document, std::shared_ptr<const YamlNode> mapping, std::string path);

    bool read(std::string_view key, std::string& out, Presence presence = Presence::optional);
    bool read(std::string_view key, std::vector<std::string>& out);  // a list of texts
    bool read(std::string_view key, bool& out);
    bool read(std::string_view key, int& out, Range<int> range);
    bool read(std::string_view key, std::uint16_t& out, Range<int> range);
    bool read(std::string_view key, double& out, Range<double> range);
    bool read(std::string_view key, milliseconds& out, Range<milliseconds> range);
    bool read(std::string_view key, std::size_t& bytes, Range<std::size_t> range);
    bool read(std::string_view key, Secret& out);
    // Reads `key` or, from the file it names, `key`_file; both together are an error.
    bool read_secret_or_file(std::string_view key, Secret& out);
    template <class Enum, std::size_t N>
    bool read(std::string_view key, Enum& out, const Choice<Enum> (&choices)[N]);

    // An absent section reads as an empty one.
    [[nodiscard]] Reader section(std::string_view key);
    [[nodiscard]] std::vector<Reader> list(std::string_view key);
    // A key of design that is not built yet: an error wherever it is given.
    void unsupported(std::string_view key);
    void reject_unknown_keys();

    [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
    [[nodiscard]] std::string path_of(std::string_view key) const;
    void report(std::string_view key, std::string message);

private:
    struct Entry {
        Place key_place;
        std::shared_ptr<const YamlNode> value;
    };

    [[nodiscard]] const Entry* find(std::string_view key) const;
    const Entry* take(std::string_view key);
    // The text of a scalar with ${ENV} expanded; nullopt: absent, or reported.
    std::optional<std::string> take_text(std::string_view key);
    std::optional<std::string> expand(std::string_view key, const std::string& text);
    // The common part of the read()s with a range: a value that `parse` takes and that is inside.
    template <class T, class Parse, class Print>
    std::optional<T> take_in_range(std::string_view key, Range<T> range, Parse parse, Print print);
    void index_keys();
    void report_choice(std::string_view key,
                       const std::string& text,
                       std::span<const std::string_view> supported);

    Document* document_;
    std::shared_ptr<const YamlNode> mapping_;
    bool is_mapping_ = true;  // false: reported; what it lacks is then no further problem
    std::string path_;
    std::map<std::string, Entry, std::less<>> entries_;
    std::vector<std::string> known_keys_;
    std::vector<std::string> supported_keys_;
};

template <class Enum, std::size_t N>
bool Reader::read(std::string_view key, Enum& out, const Choice<Enum> (&choices)[N]) {
    const auto text = take_text(key);
    if (!text) return false;
    std::vector<std::string_view> supported;
    for (const auto& choice : choices) {
        if (choice.value) supported.push_back(choice.text);
        if (choice.text != *text) continue;
        if (choice.value) {
            out = *choice.value;
            return true;
        }
        report(key, *text + " is not supported yet");
        return false;
    }
    report_choice(key, *text, supported);
    return false;
}

}  // namespace pgsteer::conf
