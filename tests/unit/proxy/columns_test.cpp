#include "proxy/session/columns.hpp"

#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace pgsteer::proxy {
namespace {

using Fit = Columns::Fit;
using routing::Slot;

struct Column {
    std::string_view name;
    std::uint32_t type = 23;
    std::uint32_t modifier = 0xffffffff;
    std::uint32_t table = 16384;
    std::uint16_t format = 0;
};

wire::Buffer described(const std::vector<Column>& columns) {
    wire::Buffer out;
    {
        wire::BodyWriter writer{out, wire::backend::kRowDescription};
        writer.u16(static_cast<std::uint16_t>(columns.size()));
        for (const auto& column : columns)
            writer.cstr(column.name)
                .u32(column.table)
                .u16(1)
                .u32(column.type)
                .u16(4)
                .u32(column.modifier)
                .u16(column.format);
    }
    out.erase(out.begin(), out.begin() + wire::kHeaderBytes);
    return out;
}

std::uint64_t digest(const std::vector<Column>& columns) {
    return digest_of_columns(wire::backend::kRowDescription, described(columns));
}

const auto kNone = digest_of_columns(wire::backend::kNoData, {});

TEST(DigestOfColumns, IsOfNamesTypesAndModifiers) {
    const auto one = digest({{"a"}, {"b"}});
    EXPECT_EQ(digest({{"a"}, {"b"}}), one);
    EXPECT_EQ(digest({{"a", 23, 0xffffffff, 16385}, {"b", 23, 0xffffffff, 16384, 1}}), one);
    EXPECT_NE(digest({{"a"}, {"c"}}), one);
    EXPECT_NE(digest({{"ab"}, {""}}), one);
    EXPECT_NE(digest({{"a"}}), one);
    EXPECT_NE(digest({{"a", 20}, {"b"}}), one);
    EXPECT_NE(digest({{"a", 23, 5}, {"b"}}), one);
    EXPECT_NE(digest({}), one);
    EXPECT_NE(digest({}), kNone);
    EXPECT_NE(kNone, 0U);
}

TEST(DigestOfColumns, IsNoneOfWhatHasNotComeWhole) {
    auto body = described({{"a"}, {"b"}});
    body.pop_back();
    EXPECT_EQ(digest_of_columns(wire::backend::kRowDescription, body), 0U);
    EXPECT_EQ(digest_of_columns(wire::backend::kRowDescription, {}), 0U);
    EXPECT_EQ(digest_of_columns(wire::backend::kDataRow, described({{"a"}})), 0U);
}

TEST(Columns, AreDoubtfulOnlyOnceTheClientWasTold) {
    const Columns::On replica{Slot::replica, 2};
    const Columns::On primary{Slot::primary, 1};
    Columns columns;
    EXPECT_FALSE(columns.are_doubtful(replica));
    columns.told(replica, 0);
    EXPECT_FALSE(columns.were_told()) << "it was not seen";
    columns.told(replica, 5);
    EXPECT_TRUE(columns.were_told());
    EXPECT_FALSE(columns.are_doubtful(replica));
    EXPECT_TRUE(columns.are_doubtful(primary));
    EXPECT_TRUE(columns.are_doubtful({Slot::replica, 3})) << "a later connection";
}

TEST(Columns, OfACopyAreComparedWithWhatWasToldFirst) {
    const Columns::On primary{Slot::primary, 1};
    Columns columns;
    columns.told({Slot::replica, 2}, 5);
    columns.copied(primary, 7);
    EXPECT_EQ(columns.fit(primary), Fit::unknown);
    columns.found(primary, 6);
    EXPECT_EQ(columns.fit(primary), Fit::others);
    EXPECT_TRUE(columns.are_doubtful(primary));
    columns.copied(primary, 7);
    EXPECT_EQ(columns.fit(primary), Fit::unknown);
    columns.told(primary, 6);
    EXPECT_EQ(columns.fit(primary), Fit::others) << "the first time counts";
    columns.found(primary, 5);
    EXPECT_EQ(columns.fit(primary), Fit::same);
    columns.found(primary, 0);
    EXPECT_EQ(columns.fit(primary), Fit::same);
}

TEST(Columns, OfAUtilityStatementMayBeNoneForATime) {
    const Columns::On primary{Slot::primary, 1};
    Columns columns;
    columns.told({Slot::replica, 2}, kNone);
    columns.found(primary, 5);
    EXPECT_EQ(columns.fit(primary), Fit::same);
}

TEST(Columns, OfACopyAreOldWhenSomethingHasChanged) {
    const Columns::On primary{Slot::primary, 1};
    Columns columns;
    EXPECT_FALSE(columns.are_old(primary, 7)) << "it is the client's own";
    columns.copied(primary, 7);
    EXPECT_FALSE(columns.are_old(primary, 7));
    EXPECT_TRUE(columns.are_old(primary, 8));
    EXPECT_FALSE(columns.are_old({Slot::primary, 2}, 8)) << "another connection";
    columns.told({Slot::replica, 2}, 5);
    EXPECT_FALSE(columns.are_old(primary, 8)) << "that is found out otherwise";
}

}  // namespace
}  // namespace pgsteer::proxy
