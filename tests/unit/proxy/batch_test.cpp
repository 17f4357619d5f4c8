#include "proxy/session/batch.hpp"

#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "tests/unit/protocol/wire_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace pgsteer::proxy {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using wire::BodyWriter;
using wire::Buffer;
using wire::Bytes;
namespace frontend = wire::frontend;

Buffer message(std::uint8_t type, std::string_view body) {
    Buffer out;
    BodyWriter{out, type}.bytes(wire::as_bytes(body));
    return out;
}

std::size_t claimed_bytes(const Buffer& from, std::size_t at = 0) {
    return (**wire::peek_header(Bytes{from}.subspan(at), wire::kMaxLargeBody)).message_bytes();
}

struct ReadItem {
    BatchItem item;
    std::optional<std::string_view> sql;
};

// nullopt: its names are still to come.
Result<std::optional<ReadItem>> read(Bytes bytes, std::size_t at, std::size_t message_bytes) {
    ReadItem read;
    const auto names = read_item(bytes, at, bytes[at], message_bytes, read.item, read.sql);
    if (!names) return names.error();
    if (*names == Names::are_still_to_come) return std::optional<ReadItem>{};
    return std::optional{std::move(read)};
}

Result<std::optional<ReadItem>> read(const Buffer& bytes, std::size_t at = 0) {
    return read(bytes, at, claimed_bytes(bytes, at));
}

error_code error_in(const Buffer& bytes) {
    const auto result = read(bytes);
    return result ? error_code{} : result.error();
}

// Only the first `size` bytes of a message have arrived, in an allocation of just this size.
Result<std::optional<ReadItem>> read_front(const Buffer& whole, std::size_t size) {
    const Buffer front(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    return read(front, 0, claimed_bytes(whole));
}

struct Kind {
    std::string_view what;
    std::uint8_t type;
    std::string_view body;
    std::string_view name;
    std::string_view portal;
    std::string_view sql;
    std::uint8_t target = 0;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.what; }

const Kind kKinds[] = {
    {"query", frontend::kQuery, "SELECT 1\0"sv, ""sv, ""sv, "SELECT 1"sv},
    {"empty query", frontend::kQuery, "\0"sv, ""sv, ""sv, ""sv},
    {"named parse", frontend::kParse, "s1\0SELECT $1\0\0\1\0\0\0\x17"sv, "s1"sv, ""sv,
     "SELECT $1"sv},
    {"unnamed parse", frontend::kParse, "\0SELECT 1\0\0\0"sv, ""sv, ""sv, "SELECT 1"sv},
    {"bind", frontend::kBind, "p1\0s1\0\0\0\0\1\0\0\0\3abc\0\0"sv, "s1"sv, "p1"sv, ""sv},
    {"unnamed bind", frontend::kBind, "\0\0\0\0\0\0\0\0"sv, ""sv, ""sv, ""sv},
    {"bind of a named portal", frontend::kBind, "p1\0\0\0\0\0\0\0\0"sv, ""sv, "p1"sv, ""sv},
    {"describe statement", frontend::kDescribe, "Ss1\0"sv, "s1"sv, ""sv, ""sv, 'S'},
    {"describe portal", frontend::kDescribe, "P\0"sv, ""sv, ""sv, ""sv, 'P'},
    {"close statement", frontend::kClose, "Ss1\0"sv, "s1"sv, ""sv, ""sv, 'S'},
    {"close portal", frontend::kClose, "Pp1\0"sv, "p1"sv, ""sv, ""sv, 'P'},
    {"execute", frontend::kExecute, "p1\0\0\0\0\5"sv, "p1"sv, ""sv, ""sv},
    {"unnamed execute", frontend::kExecute, "\0\0\0\0\0"sv, ""sv, ""sv, ""sv},
    {"sync", frontend::kSync, ""sv, ""sv, ""sv, ""sv},
    {"flush", frontend::kFlush, ""sv, ""sv, ""sv, ""sv},
    {"function call", frontend::kFunctionCall, "\0\0\4\xD2\0\0\0\0\0\0"sv, ""sv, ""sv, ""sv},
};

class ReadItemOf : public testing::TestWithParam<Kind> {};

void expect_read(const Kind& kind, const ReadItem& read, Bytes batch, std::size_t at) {
    EXPECT_EQ(read.item.type, kind.type);
    EXPECT_EQ(read.item.target, kind.target);
    EXPECT_EQ(read.item.begin, at);
    EXPECT_EQ(read.item.end, at + wire::kHeaderBytes + kind.body.size());
    EXPECT_EQ(name_of(read.item, batch), kind.name);
    EXPECT_EQ(portal_of(read.item, batch), kind.portal);
    EXPECT_EQ(read.sql.value_or(""), kind.sql);
    EXPECT_EQ(read.sql.has_value(), kind.type == frontend::kQuery || kind.type == frontend::kParse);
    EXPECT_EQ(read.item.statement, nullptr);
    EXPECT_EQ(read.item.function, kind.type == frontend::kFunctionCall ? 1234U : 0U);
}

TEST_P(ReadItemOf, SaysWhatRoutingNeeds) {
    const auto bytes = message(GetParam().type, GetParam().body);
    const auto result = read(bytes);
    ASSERT_TRUE(result) << result.error().message();
    ASSERT_TRUE(*result);
    expect_read(GetParam(), **result, bytes, 0);
}

TEST_P(ReadItemOf, CountsFromTheFirstByteOfTheBatch) {
    Buffer bytes = message(frontend::kParse, "other\0SELECT 2\0\0\0"sv);
    const auto at = bytes.size();
    const auto second = message(GetParam().type, GetParam().body);
    bytes.insert(bytes.end(), second.begin(), second.end());
    const auto behind = message(frontend::kExecute, "behind\0\0\0\0\0"sv);
    bytes.insert(bytes.end(), behind.begin(), behind.end());
    const auto result = read(bytes, at);
    ASSERT_TRUE(result) << result.error().message();
    ASSERT_TRUE(*result);
    expect_read(GetParam(), **result, bytes, at);
}

// Of a Bind only the names are read, of a FunctionCall nothing: the server judges the rest.
bool is_read_in_full(const Kind& kind) {
    return kind.type != frontend::kBind && kind.type != frontend::kFunctionCall;
}

// The length is right and the body ends early: a field is missing.
TEST_P(ReadItemOf, RejectsABodyCutAtAnyByte) {
    const auto& kind = GetParam();
    std::size_t needed = kind.body.size();
    if (kind.type == frontend::kBind) needed = kind.portal.size() + kind.name.size() + 2;
    if (kind.type == frontend::kFunctionCall) needed = 0;
    for (std::size_t size = 0; size < kind.body.size(); ++size) {
        const auto ec = error_in(message(kind.type, kind.body.substr(0, size)));
        EXPECT_EQ(ec, size < needed ? error_code{ProxyErrc::truncated} : error_code{}) << size;
    }
}

TEST_P(ReadItemOf, RejectsABodyThatGoesOn) {
    const auto expected =
        is_read_in_full(GetParam()) ? error_code{ProxyErrc::trailing_bytes} : error_code{};
    for (const auto more : {"\0"sv, "x"sv, "\0\0\0\0\0\0"sv}) {
        const auto body = std::string{GetParam().body}.append(more);
        EXPECT_EQ(error_in(message(GetParam().type, body)), expected);
    }
}

INSTANTIATE_TEST_SUITE_P(AllMessages, ReadItemOf, testing::ValuesIn(kKinds), [](const auto& test) {
    std::string name{test.param.what};
    std::replace(name.begin(), name.end(), ' ', '_');
    return name;
});

TEST(ReadItem, RejectsWhatIsNoPartOfABatch) {
    for (const std::uint8_t type :
         {std::uint8_t{'p'}, std::uint8_t{'d'}, std::uint8_t{'c'}, std::uint8_t{'f'},
          std::uint8_t{'X'}, std::uint8_t{0}, std::uint8_t{'Z'}, std::uint8_t{255}})
        EXPECT_EQ(error_in(message(type, "")), ProxyErrc::protocol_violation) << int{type};
}

TEST(ReadItem, RejectsAnUnknownTarget) {
    EXPECT_EQ(error_in(message(frontend::kDescribe, "Xs1\0"sv)), ProxyErrc::protocol_violation);
    EXPECT_EQ(error_in(message(frontend::kClose, "ss1\0"sv)), ProxyErrc::protocol_violation);
}

TEST(ReadItem, ReadsAParseWithMoreParametersThanItHoldsAsTruncated) {
    EXPECT_EQ(error_in(message(frontend::kParse, "s\0SELECT\0\xFF\xFF\0\0\0\x17"sv)),
              ProxyErrc::truncated);
}

TEST(ReadItem, NeedsOnlyTheNamesOfABind) {
    const auto bytes = message(frontend::kBind, "portal\0statement\0"s + std::string(300'000, 'x'));
    const std::size_t names_end = wire::kHeaderBytes + "portal\0statement\0"sv.size();
    for (std::size_t size = wire::kHeaderBytes; size < names_end; ++size) {
        const auto result = read_front(bytes, size);
        ASSERT_TRUE(result) << size << ": " << result.error().message();
        EXPECT_FALSE(*result) << size;
    }
    for (const auto size :
         {names_end, names_end + 1, kMaxWholeMessage, bytes.size() - 1, bytes.size()}) {
        const auto result = read_front(bytes, size);
        ASSERT_TRUE(result && *result) << size;
        EXPECT_EQ((*result)->item.end, bytes.size());
        EXPECT_EQ(name_of((*result)->item, bytes), "statement");
        EXPECT_EQ(portal_of((*result)->item, bytes), "portal");
    }
}

TEST(ReadItem, NeedsOnlyTheOidOfAFunctionCall) {
    const auto bytes = message(frontend::kFunctionCall, "\0\0\4\xD2"s + std::string(300'000, 'x'));
    const std::size_t oid_end = wire::kHeaderBytes + 4;
    for (std::size_t size = wire::kHeaderBytes; size < oid_end; ++size) {
        const auto result = read_front(bytes, size);
        ASSERT_TRUE(result) << size;
        EXPECT_FALSE(*result) << size;
    }
    for (const auto size : {oid_end, bytes.size()}) {
        const auto result = read_front(bytes, size);
        ASSERT_TRUE(result && *result) << size;
        EXPECT_EQ((*result)->item.function, 1234U);
    }
}

TEST(ReadItem, ABindWhoseNamesAreMissingIsNoBind) {
    EXPECT_EQ(error_in(message(frontend::kBind, "portal\0statement"sv)), ProxyErrc::truncated);
}

TEST(ReadItem, DoesNotWaitForNamesWithoutEnd) {
    const auto bytes = message(frontend::kBind, std::string(2 * kMaxWholeMessage, 'x'));
    const auto waiting = read_front(bytes, kMaxWholeMessage);
    ASSERT_TRUE(waiting);
    EXPECT_FALSE(*waiting);
    EXPECT_FALSE(read_front(bytes, kMaxWholeMessage + 1));
}

std::string parse_body(std::size_t sql_bytes) {
    return "s1\0"s.append(sql_bytes, 'x').append("\0\0\0"sv);
}

TEST(ReadItem, ReadsTheSqlOfTheLargestWholeMessage) {
    const auto parse =
        message(frontend::kParse, parse_body(kMaxWholeMessage - wire::kHeaderBytes - 6));
    ASSERT_EQ(parse.size(), kMaxWholeMessage);
    EXPECT_TRUE((**read(parse)).sql);
    const auto query =
        message(frontend::kQuery,
                std::string(kMaxWholeMessage - wire::kHeaderBytes - 1, 'x').append(1, '\0'));
    ASSERT_EQ(query.size(), kMaxWholeMessage);
    EXPECT_TRUE((**read(query)).sql);
}

TEST(ReadItem, LeavesTheSqlOfALargerMessageUnread) {
    const auto parse =
        message(frontend::kParse, parse_body(kMaxWholeMessage - wire::kHeaderBytes - 5));
    ASSERT_EQ(parse.size(), kMaxWholeMessage + 1);
    const auto of_parse = **read(parse);
    EXPECT_FALSE(of_parse.sql);
    EXPECT_EQ(name_of(of_parse.item, parse), "s1");
    const auto query = message(
        frontend::kQuery, std::string(kMaxWholeMessage - wire::kHeaderBytes, 'x').append(1, '\0'));
    const auto of_query = **read(query);
    EXPECT_FALSE(of_query.sql);
    EXPECT_EQ(of_query.item.end, query.size());
}

TEST(ReadItem, NeedsOnlyTheNameOfALargeParse) {
    const auto parse = message(frontend::kParse, parse_body(2 * kMaxWholeMessage));
    for (const auto size : {wire::kHeaderBytes + 3, kMaxWholeMessage, parse.size()}) {
        const auto result = read_front(parse, size);
        ASSERT_TRUE(result && *result) << size;
        EXPECT_EQ(name_of((*result)->item, parse), "s1");
        EXPECT_EQ((*result)->item.end, parse.size());
        EXPECT_FALSE((*result)->sql);
    }
}

TEST(ReadItem, WaitsForTheNameOfALargeParse) {
    const auto parse = message(frontend::kParse, parse_body(2 * kMaxWholeMessage));
    for (std::size_t size = wire::kHeaderBytes; size < wire::kHeaderBytes + 3; ++size) {
        const auto result = read_front(parse, size);
        ASSERT_TRUE(result) << size << ": " << result.error().message();
        EXPECT_FALSE(*result) << size;
    }
}

TEST(ReadItem, ALargeParseWithoutEndOfItsNameIsNone) {
    EXPECT_FALSE(read(message(frontend::kParse, std::string(2 * kMaxWholeMessage, 'x'))));
}

TEST(MalformedItem, OnlyItsTypeAndPlaceAreKnown) {
    const auto item = malformed_item(5, frontend::kDescribe, 9);
    EXPECT_EQ(item.type, kMalformed);
    EXPECT_EQ(item.target, frontend::kDescribe);
    EXPECT_EQ(item.begin, 5U);
    EXPECT_EQ(item.end, 14U);
}

TEST(MalformedItem, AMalformedSyncIsASync) {
    EXPECT_TRUE(is_sync(malformed_item(0, frontend::kSync, 9)));
    EXPECT_FALSE(is_sync(malformed_item(0, frontend::kFlush, 9)));
}

}  // namespace
}  // namespace pgsteer::proxy
