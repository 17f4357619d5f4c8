#include "proxy/errors.hpp"

#include <boost/system/errc.hpp>
#include <gtest/gtest.h>

#include <set>

namespace pgsteer::proxy {
namespace {

TEST(Errors, AreFoundByTheirNumber) {
    for (const ErrorInfo& error : kErrors) {
        EXPECT_EQ(info(error.code).code, error.code);
        EXPECT_EQ(make_error_code(error.code).message(), error.message);
        EXPECT_EQ(sqlstate_of(error.code), error.sqlstate);
    }
}

TEST(Errors, HaveASqlstateAndAMessage) {
    for (const ErrorInfo& error : kErrors) {
        EXPECT_EQ(error.sqlstate.size(), 5U) << error.message;
        EXPECT_FALSE(error.message.empty()) << error.sqlstate;
    }
}

TEST(Errors, UseTheSqlstatesThatDriversExpect) {
    EXPECT_EQ(sqlstate_of(ProxyErrc::protocol_violation), "08P01");
    EXPECT_EQ(sqlstate_of(ProxyErrc::authentication_failed), "28P01");
    EXPECT_EQ(sqlstate_of(ProxyErrc::unknown_database), "3D000");
    EXPECT_EQ(sqlstate_of(ProxyErrc::too_many_clients), "53300");
    EXPECT_EQ(sqlstate_of(ProxyErrc::shutting_down), "57P01");
    EXPECT_EQ(sqlstate_of(ProxyErrc::no_primary), "57P03");
    EXPECT_EQ(sqlstate_of(ProxyErrc::server_lost), "08006");
}

TEST(Errors, OfTheSystemCountAsALostConnection) {
    using boost::system::errc::make_error_code;
    EXPECT_EQ(sqlstate_of(make_error_code(boost::system::errc::broken_pipe)), "08006");
}

TEST(Errors, NoErrorIsNoFailure) {
    EXPECT_FALSE(error_code{ProxyErrc::ok});
    EXPECT_TRUE(error_code{ProxyErrc::truncated});
    EXPECT_EQ(sqlstate_of(error_code{}), "00000");
}

TEST(Errors, OfUnknownNumberAreDescribedAllTheSame) {
    const error_code beyond{1000, proxy_category()};
    EXPECT_EQ(beyond.message(), "unknown error 1000");
    EXPECT_EQ(sqlstate_of(beyond), "08006");
    EXPECT_EQ(sqlstate_of(error_code{-1, proxy_category()}), "08006");
}

}  // namespace
}  // namespace pgsteer::proxy
