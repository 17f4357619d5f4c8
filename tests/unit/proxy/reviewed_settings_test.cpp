#include "proxy/pool/reviewed_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace pgsteer::proxy {
namespace {

using wire::Parameters;

std::size_t place(std::string_view name) {
    const auto found = std::find(kReviewedSettings.begin(), kReviewedSettings.end(), name);
    EXPECT_NE(found, kReviewedSettings.end()) << name;
    return static_cast<std::size_t>(found - kReviewedSettings.begin());
}

SettingSet set_of(const std::vector<std::string_view>& names) {
    SettingSet result;
    for (const auto name : names) result.set(place(name));
    return result;
}

SettingValues values_of(
    const std::vector<std::pair<std::string_view, std::string_view>>& settings) {
    SettingValues values;
    for (const auto& [name, value] : settings) values[place(name)] = value;
    return values;
}

Parameters with(const Parameters& parameters,
                const std::vector<std::pair<std::string_view, std::string_view>>& settings) {
    return with_settings(parameters, values_of(settings), ~SettingSet{});
}

TEST(ReviewedSettings, AreExplainedOneByOne) {
    std::ifstream file{std::string{SOURCE_DIR} + "/proxy/pool/replica_settings.md"};
    std::vector<std::string> names;
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("| `")) names.push_back(line.substr(3, line.find('`', 3) - 3));
    EXPECT_THAT(names, testing::ElementsAreArray(kReviewedSettings));
}

TEST(ReviewedSettings, AreNoneThatOnlyCostTime) {
    for (const auto name : kReviewedSettings) {
        EXPECT_EQ(name.find("timeout"), std::string_view::npos) << name;
        EXPECT_FALSE(name.ends_with("_mem") || name.starts_with("enable_") ||
                     name.ends_with("_cost"))
            << name;
    }
}

TEST(ReviewedSettings, AreReadInTheirOrder) {
    EXPECT_TRUE(reviewed_columns().starts_with(
        "pg_catalog.current_setting('quote_all_identifiers', true), pg_catalog.current_setting('"));
    std::vector<std::optional<std::string>> row{"off", "on", std::nullopt, "hex"};
    const auto values = setting_values(row);
    EXPECT_EQ(values[place("array_nulls")], "on");
    EXPECT_EQ(values[place("backslash_quote")], std::nullopt);
    EXPECT_EQ(values[place("bytea_output")], "hex");
    EXPECT_EQ(values.back(), std::nullopt);  // a row that is too short
}

TEST(ReviewedSettings, DifferWhereBothServersHaveThem) {
    const auto primary =
        values_of({{"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}, {"xmlbinary", "hex"}});
    const auto replica =
        values_of({{"TimeZone", "Asia/Tokyo"}, {"DateStyle", "ISO, MDY"}, {"lc_time", "C"}});
    EXPECT_EQ(differing(primary, replica), set_of({"TimeZone"}));
}

TEST(ReviewedSettings, GoInFrontOfTheClientsOwn) {
    EXPECT_EQ(with({}, {}), Parameters{});
    EXPECT_EQ(with({{"TimeZone", "UTC"}}, {{"bytea_output", "hex"}}),
              (Parameters{{"TimeZone", "UTC"}, {"options", "-c bytea_output=hex"}}));
    EXPECT_EQ(with({{"options", "-c timezone=UTC"}, {"a", "b"}},
                   {{"bytea_output", "hex"}, {"TimeZone", "Asia/Tokyo"}}),
              (Parameters{{"options", "-c bytea_output=hex -c TimeZone=Asia/Tokyo -c timezone=UTC"},
                          {"a", "b"}}));
}

TEST(ReviewedSettings, AreOnlyTheChosenOnes) {
    const auto values = values_of({{"bytea_output", "hex"}, {"xmlbinary", "hex"}});
    EXPECT_EQ(with_settings({}, values, set_of({"xmlbinary", "TimeZone"})),
              (Parameters{{"options", "-c xmlbinary=hex"}}));
}

TEST(ReviewedSettings, KeepBlanksBackslashesAndNothing) {
    EXPECT_EQ(with({}, {{"search_path", "\"$user\", a\\b"}, {"lc_time", ""}}),
              (Parameters{{"options", "-c lc_time= -c search_path=\"$user\",\\ a\\\\b"}}));
}

TEST(ReviewedSettings, AreTriedAsTheyAre) {
    EXPECT_EQ(set_statement(place("search_path"), "\"it's\", a\\b"),
              "SELECT pg_catalog.set_config('search_path', E'\"it''s\", a\\\\b', false)");
}

TEST(ReviewedSettings, ThatTheClientBringsAlongAreItsOwn) {
    EXPECT_EQ(brought_along({}), SettingSet{});
    EXPECT_EQ(brought_along({{"timezone", "UTC"}, {"application_name", "x"}}),
              set_of({"TimeZone"}));
    EXPECT_EQ(
        brought_along({{"options", "-c search_path=a --bytea-output=hex"}, {"TIMEZONE", "UTC"}}),
        set_of({"search_path", "bytea_output", "TimeZone"}));
}

TEST(ReviewedSettings, LeaveHalfOfDateStyleToTheServer) {
    EXPECT_EQ(brought_along({{"DateStyle", "ISO"}}), SettingSet{});
    EXPECT_EQ(kind_of_session("app", "alice", {{"TimeZone", "UTC"}}),
              (SessionKind{"app", "alice", ""}));
    EXPECT_EQ(kind_of_session("app", "alice", {{"datestyle", "ISO, DMY"}}).date_style,
              "-c datestyle=ISO,\\ DMY");
    EXPECT_EQ(kind_of_session("app", "alice", {{"DateStyle", "ISO"}, {"options", "-e"}}).date_style,
              "-c datestyle=euro -c datestyle=ISO");
}

}  // namespace
}  // namespace pgsteer::proxy
