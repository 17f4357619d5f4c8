#include "routing/search_path.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SearchPath, IsReadAsPostgresReadsIt) {
    const auto read = [](std::string_view value) {
        return parse_search_path(value, "joe").schemas;
    };
    EXPECT_THAT(read("\"$user\", public"), ElementsAre("joe", "public"));
    EXPECT_THAT(read("$user,public"), ElementsAre("joe", "public"));
    EXPECT_THAT(read("  App ,\"App\",\"a,b\" , \"x\"\"y\" "),
                ElementsAre("app", "App", "a,b", "x\"y"));
    EXPECT_THAT(read("\"\""), ElementsAre(""));
    EXPECT_THAT(read(""), IsEmpty());
    EXPECT_TRUE(parse_search_path("", "joe").is_known);
}

TEST(SearchPath, IsNotKnownInDoubt) {
    for (const std::string value :
         {"a,", ",a", "a,,b", "a b", "\"a", "\"a\"b", "a\"b\"", "\xC3\xA9",
          "n23456789012345678901234567890123456789012345678901234567890123X"})
        EXPECT_FALSE(parse_search_path(value, "joe").is_known) << value;
    EXPECT_FALSE(parse_search_path("\"$user\", public", "").is_known) << "role not known";
    EXPECT_TRUE(parse_search_path("public", "").is_known);
}

TEST(SearchPath, HoldsPgCatalogAlwaysAndAnythingWhereItIsNotKnown) {
    const SearchPath path = parse_search_path("a", "joe");
    EXPECT_TRUE(path.may_hold("a"));
    EXPECT_TRUE(path.may_hold("pg_catalog"));
    EXPECT_FALSE(path.may_hold("b"));
    EXPECT_TRUE(SearchPath{}.may_hold("b"));
}

TEST(SearchPath, QuotedNamesComeBack) {
    for (const std::string name : {"a", "A", "a\"b", "a,b", "$User", " "})
        EXPECT_THAT(parse_search_path(quote_identifier(name), "joe").schemas, ElementsAre(name));
}

TEST(SearchPath, LiteralsAreQuotedForEverySetting) {
    EXPECT_EQ(quote_literal("it's"), "'it''s'");
    EXPECT_EQ(quote_literal("a\\'"), R"(E'a\\''')");
}

}  // namespace
}  // namespace pgsteer::routing
