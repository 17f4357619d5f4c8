// The documents against the sources: a reason, an error or a key that is not explained fails here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace pgsteer::conf {
namespace {

std::string read(const std::string& path) {
    std::ifstream file{std::string{SOURCE_DIR} + "/" + path};
    EXPECT_TRUE(file) << path;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in{text};
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

// The row of a table that begins with these cells.
std::optional<std::string> row(const std::string& document, const std::string& cells) {
    const std::vector<std::string> lines = lines_of(document);
    const auto found = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.starts_with("| " + cells + " |");
    });
    if (found == lines.end()) return std::nullopt;
    return *found;
}

// What is said in the last cell of a row.
std::string last_cell(const std::string& line) {
    static const std::regex kLast{R"(\|\s*([^|]*?)\s*\|\s*$)"};
    std::smatch match;
    return std::regex_search(line, match, kLast) ? match[1].str() : std::string{};
}

std::vector<std::smatch> matches(const std::string& text, const std::regex& pattern) {
    return {std::sregex_iterator{text.begin(), text.end(), pattern}, std::sregex_iterator{}};
}

TEST(Documents, ExplainEveryReasonAndPin) {
    const std::string document = read("routing/reasons.md");
    const std::string source = read("routing/reason.cpp");
    const std::regex name{R"(return \"(\w+)\";)"};
    std::size_t count = 0;
    for (const auto& match : matches(source, name)) {
        if (match[1] == "unknown") continue;  // no enumerator
        ++count;
        const auto line = row(document, "`" + match[1].str() + "`");
        ASSERT_TRUE(line) << match[1] << " has no row";
        EXPECT_THAT(last_cell(*line), testing::Not(testing::IsEmpty())) << match[1];
    }
    EXPECT_GE(count, 35U) << "the pattern no longer finds the names";
}

TEST(Documents, ExplainEveryLevelAndParameter) {
    const std::string document = read("routing/consistency.md");
    const std::string source = read("routing/read_options.cpp");
    const std::regex level{R"re(Level\{"(\w+)", Consistency::)re"};
    const auto levels = matches(source, level);
    EXPECT_GE(levels.size(), 4U) << "the pattern no longer finds the levels";
    for (const auto& match : levels)
        EXPECT_NE(document.find("\n| `" + match[1].str() + "` "), std::string::npos) << match[1];
    const std::regex parameter{R"re(name == "(\w+)")re"};
    const auto parameters = matches(source, parameter);
    EXPECT_GE(parameters.size(), 7U) << "the pattern no longer finds the parameters";
    for (const auto& match : parameters)
        EXPECT_NE(document.find("pgsteer." + match[1].str() + "`"), std::string::npos) << match[1];
}

// In the order of the source: SQLSTATE and message, as the client sees them.
TEST(Documents, ExplainEveryErrorOfOurs) {
    const std::string document = read("proxy/errors.md");
    const std::string source = read("proxy/errors.hpp");
    const std::regex error{
        R"re(ErrorInfo\{\s*ProxyErrc::(\w+),\s*"\w+",\s*"(\w{5})",\s*"([^"]*)"\s*\})re"};
    const auto errors = matches(source, error);
    EXPECT_GE(errors.size(), 28U) << "the pattern no longer finds the errors";
    for (const auto& match : errors) {
        if (match[1] == "ok") continue;  // never sent
        EXPECT_TRUE(row(document, match[2].str() + " | " + match[3].str()))
            << match[1] << " has no row";
    }
}

struct Key {
    std::string path;
    std::string value;
    bool is_example = false;
};

// The keys of full.yaml, which is kept to one `key: value` a line.
std::vector<Key> keys_of_full_sample() {
    const std::regex entry{R"(^( *)(- )?(\w+):\s*([^#]*?)\s*(#.*)?$)"};
    std::vector<Key> keys;
    std::string section;
    std::string list;
    for (const std::string& line : lines_of(read("conf/samples/full.yaml"))) {
        std::smatch match;
        if (line.starts_with('#') || !std::regex_match(line, match, entry)) continue;
        const std::size_t indent = match[1].str().size();
        const std::string name = match[3];
        const std::string value = match[4];
        if (indent == 0) section = name;
        if (indent <= 2 && !match[2].matched) list.clear();
        if (match[2].matched) list = "[]";
        if (value.empty()) {  // a section or a list
            if (indent > 0) section += "." + name;
            continue;
        }
        const bool is_example = match[5].str().find("example") != std::string::npos;
        keys.push_back({indent == 0 ? name : section + list + "." + name, value, is_example});
    }
    return keys;
}

TEST(Documents, ListEveryKeyWithItsDefault) {
    const std::string document = read("conf/keys.md");
    const auto keys = keys_of_full_sample();
    EXPECT_GE(keys.size(), 45U) << "the pattern no longer finds the keys";
    for (const Key& key : keys) {
        const auto line = row(document, "`" + key.path + "`");
        EXPECT_TRUE(line) << key.path << " has no row";
        if (!line || key.is_example) continue;
        EXPECT_THAT(*line, testing::StartsWith("| `" + key.path + "` | `" + key.value + "` |"));
    }
}

// Keys that the loader knows and refuses are named, so that nobody looks for them in vain.
TEST(Documents, NameEveryKeyThatIsNotSupportedYet) {
    const std::string document = read("conf/keys.md");
    const std::string source = read("conf/loader.cpp");
    const std::regex single{R"re(unsupported\("(\w+)"\))re"};
    const std::regex several{R"re(:\s*\{((?:"\w+",?\s*)+)\}\)\s*in\.unsupported)re"};
    const std::regex quoted{R"re("(\w+)")re"};
    std::vector<std::string> names;
    for (const auto& match : matches(source, single)) names.push_back(match[1]);
    for (const auto& match : matches(source, several)) {
        const std::string list = match[1];
        for (const auto& name : matches(list, quoted)) names.push_back(name[1]);
    }
    EXPECT_GE(names.size(), 5U) << "the pattern no longer finds the keys";
    for (const std::string& name : names)
        EXPECT_NE(document.find("." + name + "`"), std::string::npos) << name << " is not named";
}

// A newcomer reads it in one sitting; reference tables are beside the code.
TEST(Documents, ReadmeIsShort) { EXPECT_LE(read("README.md").size(), 12 * 1024U); }

// The anchor that a heading gets: lower case, blanks as dashes, all else but letters, digits,
// dashes and underscores left out.
std::string anchor_of(const std::string& heading) {
    std::string anchor;
    for (const char c : heading) {
        if (c == ' ') anchor += '-';
        if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_')
            anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return anchor;
}

std::set<std::string> anchors_of(const std::string& document) {
    std::set<std::string> anchors;
    for (const std::string& line : lines_of(document)) {
        const std::size_t text = line.find_first_not_of('#');
        if (text == 0 || text == std::string::npos || line[text] != ' ') continue;
        anchors.insert(anchor_of(line.substr(text + 1)));
    }
    return anchors;
}

// Every document of the repository, by its path from the root; not what is built or fetched.
std::vector<std::string> documents() {
    std::vector<std::string> found{"README.md"};
    for (const std::string folder : {"conf", "routing", "health", "proxy", "deploy", "tests"}) {
        const std::filesystem::path root{SOURCE_DIR};
        for (const auto& entry : std::filesystem::recursive_directory_iterator{root / folder})
            if (entry.path().extension() == ".md" &&
                entry.path().string().find("node_modules") == std::string::npos)
                found.push_back(entry.path().lexically_relative(root).string());
    }
    return found;
}

TEST(Documents, LinkToWhatExists) {
    const std::regex link{R"(\]\(([\w./-]*)(#[\w-]+)?\))"};
    std::size_t count = 0;
    for (const std::string& document : documents()) {
        const std::string text = read(document);
        const std::string folder = document.substr(0, document.find_last_of('/') + 1);
        for (const auto& match : matches(text, link)) {
            ++count;
            const std::string target = match[1].length() == 0 ? document : folder + match[1].str();
            const bool exists = std::filesystem::exists(std::string{SOURCE_DIR} + "/" + target);
            EXPECT_TRUE(exists) << document << ": " << match[1];
            if (!exists || !match[2].matched) continue;
            EXPECT_TRUE(anchors_of(read(target)).contains(match[2].str().substr(1)))
                << document << ": " << target << match[2];
        }
    }
    EXPECT_GE(count, 40U) << "the pattern no longer finds the links";
}

}  // namespace
}  // namespace pgsteer::conf
