#include "routing/reason.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::routing {
namespace {

std::string read_file(const std::string& path) {
    std::ifstream in{path};
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

// The enumerators of `enum class <type>`, in order, as the header spells them.
std::vector<std::string> enumerators(const std::string& source, const std::string& type) {
    const auto start = source.find('{', source.find("enum class " + type)) + 1;
    const std::string body = source.substr(start, source.find("};", start) - start);
    std::vector<std::string> names;
    std::string word;
    for (std::size_t i = 0; i < body.size(); ++i) {
        if (body.compare(i, 2, "//") == 0) i = std::min(body.find('\n', i), body.size() - 1);
        const char c = body[i];
        if ((c >= 'a' && c <= 'z') || c == '_')
            word += c;
        else if (!word.empty())
            names.push_back(std::exchange(word, {}));
    }
    if (!word.empty()) names.push_back(word);
    return names;
}

TEST(Reason, IsNamedAsItIsSpelled) {
    const auto names = enumerators(read_file(SOURCE_DIR "/routing/reason.hpp"), "Reason");
    ASSERT_EQ(names.size(), kReasonCount);
    for (std::size_t i = 0; i < names.size(); ++i)
        EXPECT_EQ(name(static_cast<Reason>(i)), names[i]);
}

TEST(Pin, IsNamedAsItIsSpelled) {
    const auto names = enumerators(read_file(SOURCE_DIR "/routing/reason.hpp"), "Pin");
    ASSERT_EQ(names.size(), kPinCount);
    for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(name(static_cast<Pin>(i)), names[i]);
}

}  // namespace
}  // namespace pgsteer::routing
