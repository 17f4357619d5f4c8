#include "routing/startup_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteer::routing {

// For the messages of failed tests.
void PrintTo(const StartupSetting& setting, std::ostream* out) {
    *out << setting.name << " = " << setting.value;
}

namespace {

using ::testing::ElementsAre;
using Settings = std::vector<StartupSetting>;

TEST(StartupOptions, AreReadAsPostgresReadsThem) {
    const struct {
        std::string_view options;
        Settings settings;
    } rows[] = {
        {"", {}},
        {"-c", {}},
        {"-c search_path", {}},
        {"-c a=b", {{"a", "b"}}},
        {"-ca=b", {{"a", "b"}}},
        {"--a=b", {{"a", "b"}}},
        {"-c a=", {{"a", ""}}},
        {"-c a=b=c", {{"a", "b=c"}}},
        {"-c Search-Path=A-B", {{"search_path", "A-B"}}},
        {"--default-transaction-isolation=repeatable\\ read",
         {{"default_transaction_isolation", "repeatable read"}}},
        {"-c a=1 -c b=2\t--c=3\n-cd=4\v\f\r", {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}}},
        {"-c search_path=a,\\ b\\\\", {{"search_path", "a, b\\"}}},
        {"-c a=b\\", {{"a", "b"}}},
        {"-c a=\\-\\n", {{"a", "-n"}}},
        {"\\-c a=b", {{"a", "b"}}},
        {"-S 64 -c a=b", {{"work_mem", "64"}, {"a", "b"}}},
        {"-S64", {{"work_mem", "64"}}},
        {"-e", {{"datestyle", "euro"}}},
        {"-eS64", {{"datestyle", "euro"}, {"work_mem", "64"}}},
        {"-f s -tpl -c a=b", {{"a", "b"}}},  // the values of switches are no switches
        {"-t -ca=b", {}},
        {"-bsec a=b", {{"datestyle", "euro"}, {"a", "b"}}},
        {"-c a=b word -c c=d", {{"a", "b"}}},  // refused
        {"-c a=b -- -c c=d", {{"a", "b"}}},
    };
    for (const auto& row : rows)
        EXPECT_EQ(settings_in_options(row.options), row.settings) << row.options;
}

TEST(StartupOptions, ParametersOfThePacketOverrideThem) {
    const std::vector<std::pair<std::string, std::string>> packet{
        {"DateStyle", "ISO"}, {"options", "-c datestyle=German -c app.x=1"}, {"app-name", "x"}};
    const auto settings = startup_settings(packet);
    EXPECT_THAT(settings,
                ElementsAre(StartupSetting{"datestyle", "German"}, StartupSetting{"app.x", "1"},
                            StartupSetting{"datestyle", "ISO"}, StartupSetting{"app-name", "x"}));
    EXPECT_EQ(find_setting(settings, "datestyle"), "ISO");
    EXPECT_EQ(find_setting(settings, "app.x"), "1");
    EXPECT_EQ(find_setting(settings, "app.y"), std::nullopt);
}

}  // namespace
}  // namespace pgsteer::routing
