// YAML as such: syntax errors, and text that is meant to do harm.
#include "conf/yaml.hpp"

#include "conf/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>
#include <string>

namespace pgsteer::conf {
namespace {

std::string only_problem(const std::string& yaml) {
    const Loaded loaded = load_text(yaml, "p.yaml", "");
    return loaded.problems.size() == 1 ? loaded.problems[0].text()
                                       : std::to_string(loaded.problems.size()) + " problems";
}

std::string repeated(const std::string& piece, std::size_t bytes) {
    std::string out;
    while (out.size() + piece.size() <= bytes) out += piece;
    return out;
}

struct SyntaxCase {
    std::string yaml;
    std::string problem;
};
void PrintTo(const SyntaxCase& c, std::ostream* out) { *out << c.yaml.substr(0, 80); }
class Syntax : public testing::TestWithParam<SyntaxCase> {};

TEST_P(Syntax, ErrorsHaveAPlace) { EXPECT_EQ(only_problem(GetParam().yaml), GetParam().problem); }

INSTANTIATE_TEST_SUITE_P(
    Yaml,
    Syntax,
    testing::Values(
        SyntaxCase{"log: {level: info",
                   "p.yaml:2:1: not valid YAML: a '{' is not closed here or earlier"},
        SyntaxCase{"servers: [{}\nlog: {}\n",
                   "p.yaml:2:1: not valid YAML: a '[' is not closed here or earlier"},
        SyntaxCase{"pool:\n  size: 5\n mode: session\n",
                   "p.yaml:3:2: not valid YAML: does not fit the indentation of the keys before"},
        SyntaxCase{"servers:\n  - {}\n  size: 5\n",
                   "p.yaml:3:3: not valid YAML: does not fit the indentation of the keys before"},
        SyntaxCase{"workers: 1\n\tlog: x\n",
                   "p.yaml:2:1: not valid YAML: a tab in the indentation: use spaces"},
        SyntaxCase{"health:\n  user: \"abc\nlog: {}\n",
                   "p.yaml:4:1: not valid YAML: a quoted value does not end"},
        SyntaxCase{"health:\n  user: 'abc",
                   "p.yaml:3:1: not valid YAML: a quoted value does not end"},
        SyntaxCase{"log: {}}\n", "p.yaml:1:8: not valid YAML: a '}' or ']' too many"},
        SyntaxCase{"log: a: b\n", "p.yaml:1:7: not valid YAML: a ': ' where no key can be"},
        SyntaxCase{"log: *nobody\n",
                   "p.yaml:1:6: not valid YAML: the referenced anchor is not defined"},
        SyntaxCase{"workers: 1\n---\nworkers: 2\n",
                   "p.yaml:2:1: only one YAML document is allowed"},
        SyntaxCase{"log: &a {level: *a}\n",
                   "p.yaml:1:17: an alias cannot stand inside what it stands for"},
        SyntaxCase{std::string{"log:\n  le\0vel", 12},
                   "p.yaml:2:1: holds a NUL byte: not a text file in UTF-8"},
        SyntaxCase{std::string(kMaxFileBytes + 1, '#'), "p.yaml: larger than 1MiB"}));

TEST(Yaml, WithoutAnythingIsAnEmptyConfiguration) {
    for (const std::string yaml : {"", "\n", "# nothing\n", "---\n", "{}", "...\n", "{}\n..."}) {
        const Loaded loaded = load_text(yaml, "p.yaml", "");
        ASSERT_EQ(loaded.problems.size(), 2U) << yaml;
        EXPECT_EQ(loaded.problems[0].text(),
                  "p.yaml:1:1: servers: at least one server is required");
    }
}

TEST(Yaml, ThatIsNoMappingIsOneProblemOfTheDocument) {
    const Loaded loaded = load_text("just words", "p.yaml", "");
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.problems[0].text(),
              "p.yaml:1:1: expected a mapping (key: value), found a single value");
}

TEST(Yaml, IsNotFollowedTooDeep) {
    for (const std::string piece : {"[", "{a: ", "- ", "? ", "{? "}) {
        const std::string problem = only_problem(repeated(piece, 100'000));
        EXPECT_THAT(problem, testing::HasSubstr(": nested too deeply")) << piece;
    }
}

TEST(Yaml, AliasesDoNotMultiplyWithoutLimit) {
    std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 30; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
        for (int j = 0; j < 9; ++j) yaml += ", " + before;
        yaml += "]\n";
    }
    EXPECT_EQ(only_problem(yaml), "p.yaml:6:15: too many values");
}

TEST(Yaml, ManyValuesAreRefused) {
    EXPECT_THAT(only_problem(repeated("- a\n", 1'000'000)),
                testing::HasSubstr(": too many values"));
}

TEST(Yaml, LongKeysAndValuesMakeShortMessages) {
    const std::string word(500'000, 'x');
    const Loaded loaded =
        load_text("log: {level: " + word + ", " + "k" + word + ": 1}", "p.yaml", "");
    EXPECT_FALSE(loaded.ok());
    for (const Problem& problem : loaded.problems) EXPECT_LT(problem.text().size(), 300U);
}

class FullSample : public testing::Test {
protected:
    void SetUp() override {
        std::ostringstream text;
        text << std::ifstream{SOURCE_DIR "/conf/samples/full.yaml"}.rdbuf();
        yaml_ = text.str();
        ASSERT_FALSE(yaml_.empty());
    }

    // Whatever is loaded must be in order, and whatever is not must say why.
    static void load(const std::string& yaml) {
        const Loaded loaded = load_text(yaml, "p.yaml", "");
        Place before;
        for (const Problem& problem : loaded.problems) {
            EXPECT_GE(problem.line, 1) << yaml;
            EXPECT_FALSE(problem.message.empty()) << yaml;
            EXPECT_EQ(problem.text().find('\n'), std::string::npos) << yaml;
            const Place place{problem.line, problem.column};
            EXPECT_LE(before, place) << yaml;
            before = place;
        }
        if (loaded.ok()) {
            EXPECT_THAT(validate(loaded.config), testing::IsEmpty()) << yaml;
        }
    }

    std::string yaml_;
};

TEST_F(FullSample, CutAnywhereDoesNoHarm) {
    for (std::size_t length = 0; length < yaml_.size(); length += 7) load(yaml_.substr(0, length));
}

TEST_F(FullSample, WithRandomDamageDoesNoHarm) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    const auto below = [&](std::size_t end) {
        return std::uniform_int_distribution<std::size_t>{0, end - 1}(random);
    };
    const std::string spice = "{}[]:,-?&*!|>'\"%@`#\n\t ~<$\x80\xff\x01";
    for (int round = 0; round < 300; ++round) {
        std::string damaged = yaml_;
        for (std::size_t n = below(6) + 1; n > 0; --n) {
            const std::size_t at = below(damaged.size());
            switch (below(4)) {
                case 0:
                    damaged[at] = spice[below(spice.size())];
                    break;
                case 1:
                    damaged.insert(at, 1, spice[below(spice.size())]);
                    break;
                case 2:
                    damaged.erase(at, below(20));
                    break;
                default:
                    damaged.insert(at, damaged.substr(below(damaged.size()), below(40)));
            }
        }
        load(damaged);
    }
}

}  // namespace
}  // namespace pgsteer::conf
