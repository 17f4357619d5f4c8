#include "health/conninfo.hpp"

#include <gtest/gtest.h>

namespace pgsteer::health {
namespace {

using namespace std::chrono_literals;

TEST(Conninfo, ReadsAUri) {
    const auto info =
        parse_conninfo("postgresql://app:s%20t@db1.example:5433/shop?connect_timeout=7");
    EXPECT_EQ(info.error, "");
    EXPECT_EQ(info.server.host, "db1.example");
    EXPECT_EQ(info.server.port, 5433);
    EXPECT_EQ(info.server.name, "db1.example:5433");
    EXPECT_EQ(info.server.connect_timeout, 7s);
    EXPECT_EQ(info.user, "app");
    EXPECT_EQ(info.password.reveal(), "s t");
    EXPECT_EQ(info.database, "shop");
}

TEST(Conninfo, ReadsKeywordsAndValues) {
    const auto info = parse_conninfo("host=/run/postgresql port=5499 user=app");
    EXPECT_EQ(info.error, "");
    EXPECT_EQ(info.server.host, "/run/postgresql");
    EXPECT_EQ(info.server.port, 5499);
}

TEST(Conninfo, PrefersAnAddressToAName) {
    EXPECT_EQ(parse_conninfo("host=db hostaddr=10.0.0.7").server.host, "10.0.0.7");
    EXPECT_EQ(parse_conninfo("hostaddr=10.0.0.7 host=db").server.host, "10.0.0.7");
}

TEST(Conninfo, HasDefaults) {
    const auto info = parse_conninfo("postgresql://");
    EXPECT_EQ(info.error, "");
    EXPECT_EQ(info.server.name, "localhost:5432");
}

class Refused : public testing::TestWithParam<const char*> {};

TEST_P(Refused, SaysWhy) { EXPECT_NE(parse_conninfo(GetParam()).error, ""); }

INSTANTIATE_TEST_SUITE_P(Uris,
                         Refused,
                         testing::Values("postgresql://a,b/db",
                                         "postgresql://a:1,b:2/db",
                                         "postgresql://a:99999/db",
                                         "postgresql://a:0/db",
                                         "postgresql://a/db?sslmode=require",
                                         "postgresql://a/db?nonsense=1",
                                         "postgresql://a/db?connect_timeout=x",
                                         "postgresql://a/db?options=-c%20work_mem%3D1MB",
                                         "host=a port",
                                         "not a uri"));

}  // namespace
}  // namespace pgsteer::health
