#include "conf/log.hpp"

#include "conf/log_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace pgsteer::log {
namespace {

using conf::LogFormat;
using conf::LogLevel;

// 2026-03-01 09:30:00.125 UTC
constexpr TimePoint kTime{std::chrono::milliseconds{1'772'357'400'125}};

std::string text(std::string_view sentence, const std::vector<Field>& fields) {
    return format_text(kTime, LogLevel::info, sentence, fields);
}

std::string json(std::string_view sentence, const std::vector<Field>& fields) {
    return format_json(kTime, LogLevel::warning, sentence, fields);
}

TEST(TextLine, IsTimeLevelSentenceAndFields) {
    EXPECT_EQ(text("server is healthy", {{"server", "pg2"}, {"lag_ms", "3", FieldKind::literal}}),
              "2026-03-01T09:30:00.125Z info server is healthy server=pg2 lag_ms=3");
    EXPECT_EQ(text("started", {}), "2026-03-01T09:30:00.125Z info started");
}

TEST(TextLine, NamesEveryLevel) {
    const auto level = [](LogLevel l) { return format_text(kTime, l, "x", {}).substr(25); };
    EXPECT_EQ(level(LogLevel::debug), "debug x");
    EXPECT_EQ(level(LogLevel::info), "info x");
    EXPECT_EQ(level(LogLevel::warning), "warning x");
    EXPECT_EQ(level(LogLevel::error), "error x");
}

struct ValueCase {
    std::string value;
    std::string in_text;
    std::string in_json;
};
void PrintTo(const ValueCase& c, std::ostream* out) { *out << c.in_json; }
class LoggedValue : public testing::TestWithParam<ValueCase> {};

TEST_P(LoggedValue, AreQuotedWhereALineCouldBeMisread) {
    const auto& [value, in_text, in_json] = GetParam();
    EXPECT_EQ(text("s", {{"k", value}}), "2026-03-01T09:30:00.125Z info s k=" + in_text);
    EXPECT_EQ(json("s", {{"k", value}}),
              R"({"time":"2026-03-01T09:30:00.125Z","level":"warning","message":"s","k":)" +
                  in_json + "}");
}

INSTANTIATE_TEST_SUITE_P(
    LogLine,
    LoggedValue,
    testing::Values(ValueCase{"plain", "plain", R"("plain")"},
                    ValueCase{"", R"("")", R"("")"},
                    ValueCase{"two words", R"("two words")", R"("two words")"},
                    ValueCase{"a=b", R"("a=b")", R"("a=b")"},
                    ValueCase{"say \"hi\"", R"("say \"hi\"")", R"("say \"hi\"")"},
                    ValueCase{"back\\slash", R"("back\\slash")", R"("back\\slash")"},
                    ValueCase{"line\nbreak\r\t", R"("line\nbreak\r\t")", R"("line\nbreak\r\t")"},
                    ValueCase{"bell\x07", R"("bell\x07")", R"("bell\u0007")"},
                    ValueCase{"\x7f", R"("\x7f")", R"("\u007f")"},
                    ValueCase{"Zürich", "Zürich", R"("Zürich")"},
                    ValueCase{"\xf0\x9f\x90\x98", "\xf0\x9f\x90\x98", "\"\xf0\x9f\x90\x98\""},
                    ValueCase{"bad\xff", R"("bad\xff")", R"("bad\ufffd")"},
                    ValueCase{"cut\xc3", R"("cut\xc3")", R"("cut\ufffd")"},
                    ValueCase{"\xc0\xaf", R"("\xc0\xaf")", R"("\ufffd\ufffd")"},
                    ValueCase{"\xed\xa0\x80", R"("\xed\xa0\x80")", R"("\ufffd\ufffd\ufffd")"},
                    ValueCase{std::string{"nul\0!", 5}, R"("nul\x00!")", R"("nul\u0000!")"}));

TEST(TextLine, StaysOneLineWhateverTheSentenceHolds) {
    EXPECT_EQ(text("a\nb", {}), "2026-03-01T09:30:00.125Z info a\\nb");
}

TEST(JsonLine, WritesNumbersAndBooleansAsSuch) {
    EXPECT_THAT(json("s", {{"n", "-3", FieldKind::literal}, {"b", "true", FieldKind::literal}}),
                testing::EndsWith(R"("message":"s","n":-3,"b":true})"));
    EXPECT_THAT(json("s", {{"n", "3", FieldKind::text}}), testing::EndsWith(R"("n":"3"})"));
    for (const std::string special : {"inf", "-inf", "nan", "-nan", "-", ""})
        EXPECT_THAT(json("s", {{"n", special, FieldKind::literal}}),
                    testing::EndsWith("\"n\":\"" + special + "\"}"));
}

TEST(JsonLine, RenamesFieldsThatWouldHideItsOwn) {
    EXPECT_THAT(json("s", {{"time", "1"}, {"level", "2"}, {"message", "3"}}),
                testing::EndsWith(R"("message":"s","time_":"1","level_":"2","message_":"3"})"));
}

class StandardError : public testing::Test {
protected:
    void TearDown() override { configure(conf::LogConfig{}); }

    template <class Action>
    static std::string output_of(Action action) {
        testing::internal::CaptureStderr();
        action();
        return testing::internal::GetCapturedStderr();
    }
};

TEST_F(StandardError, GetsOneLineACall) {
    configure({LogLevel::info, LogFormat::text});
    const std::string out = output_of([] {
        info("server is healthy", "server", "pg 2", "lag_ms", 3, "primary", false, "share", 0.5);
    });
    const std::regex line{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info server is healthy )"
                          R"(server="pg 2" lag_ms=3 primary=false share=0\.5\n)"};
    EXPECT_TRUE(std::regex_match(out, line)) << out;
}

TEST_F(StandardError, GetsNothingBelowTheLevel) {
    configure({LogLevel::warning, LogFormat::text});
    EXPECT_FALSE(enabled(LogLevel::info));
    EXPECT_TRUE(enabled(LogLevel::warning));
    EXPECT_EQ(output_of([] {
                  debug("a");
                  info("b");
              }),
              "");
    EXPECT_THAT(output_of([] { error("c"); }), testing::HasSubstr("error c\n"));
}

TEST_F(StandardError, FollowsALaterConfiguration) {
    configure({LogLevel::error, LogFormat::text});
    configure({LogLevel::debug, LogFormat::json});
    EXPECT_THAT(output_of([] { debug("routed", "session", 7, "reason", "fresh_replica"); }),
                testing::EndsWith(
                    R"("level":"debug","message":"routed","session":7,"reason":"fresh_replica"})"
                    "\n"));
}

TEST_F(StandardError, NeverShowsSecrets) {
    const std::string out = output_of([] { info("user", "password", conf::Secret{"hunter2"}); });
    EXPECT_THAT(out, testing::HasSubstr("password=***"));
    EXPECT_THAT(out, testing::Not(testing::HasSubstr("hunter2")));
}

TEST_F(StandardError, KeepsLinesOfManyThreadsWhole) {
    constexpr int kThreads = 4;
    constexpr int kLines = 200;
    const std::string out = output_of([] {
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t)
            threads.emplace_back([] {
                for (int i = 0; i < kLines; ++i) info("line", "filler", std::string(100, 'x'));
            });
        for (auto& thread : threads) thread.join();
    });
    const std::string tail = "Z info line filler=" + std::string(100, 'x');
    std::size_t count = 0;
    std::istringstream lines{out};
    for (std::string line; std::getline(lines, line); ++count)
        ASSERT_EQ(line.substr(23), tail) << "line " << count;
    EXPECT_EQ(count, static_cast<std::size_t>(kThreads * kLines));
}

}  // namespace
}  // namespace pgsteer::log
