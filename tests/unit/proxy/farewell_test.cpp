#include "proxy/server/farewell.hpp"

#include <boost/asio/error.hpp>
#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

namespace asio = boost::asio;

wire::ErrorFields said(std::string_view severity, std::string_view sqlstate) {
    return {.severity = severity, .sqlstate = sqlstate, .message = {}, .hint = {}};
}

TEST(Farewell, SpeaksOfTheServerWhenNothingWasSaid) {
    EXPECT_TRUE(Farewell{}.is_silent());
    EXPECT_TRUE(Farewell{}.speaks_of_the_server());
}

TEST(Farewell, ForgetsErrorsAndNoticesAfterWhichAConnectionGoesOn) {
    Farewell farewell;
    farewell.heard(said("ERROR", "42P01"));
    farewell.heard(said("NOTICE", "00000"));
    farewell.heard(said("WARNING", "25P01"));
    EXPECT_TRUE(farewell.is_silent());
    EXPECT_TRUE(farewell.speaks_of_the_server());
}

TEST(Farewell, IsOneSessionsUnlessItIsSaidToEverybody) {
    for (const std::string_view sqlstate :
         {"57P01", "57P04", "57P05", "25P03", "25P04", "40001", "XX000", "08P01", "53200"}) {
        Farewell farewell;
        farewell.heard(said("FATAL", sqlstate));
        EXPECT_EQ(farewell.sqlstate(), sqlstate);
        EXPECT_FALSE(farewell.speaks_of_the_server()) << sqlstate;
    }
    for (const std::string_view sqlstate : {"57P02", "57P03"}) {
        Farewell farewell;
        farewell.heard(said("FATAL", sqlstate));
        EXPECT_TRUE(farewell.speaks_of_the_server()) << sqlstate;
    }
}

// Those whose server process did not crash itself get a WARNING, then EOF.
TEST(Farewell, HearsThatAnotherServerProcessCrashed) {
    Farewell farewell;
    farewell.heard(said("WARNING", "57P02"));
    EXPECT_EQ(farewell.sqlstate(), "57P02");
    EXPECT_TRUE(farewell.speaks_of_the_server());
}

// From 14 on an immediate stop says so, as a WARNING: that is no crash of the one who hears
// nothing.
TEST(Farewell, IsNotSilentWhenTheServerStopsAtOnce) {
    Farewell farewell;
    farewell.heard(said("WARNING", "57P01"));
    EXPECT_FALSE(farewell.is_silent());
    EXPECT_TRUE(farewell.speaks_of_the_server());
}

TEST(Farewell, TellsAServerThatDoesNotAnswerFromTroubleOfOurs) {
    EXPECT_TRUE(is_unreachable(asio::error::connection_refused));
    EXPECT_TRUE(is_unreachable(asio::error::timed_out));
    EXPECT_TRUE(is_unreachable(asio::error::eof));
    EXPECT_TRUE(is_unreachable(ProxyErrc::server_unreachable));
    EXPECT_TRUE(is_unreachable({ENOENT, boost::system::system_category()}))
        << "a Unix socket, which goes with its server";
    EXPECT_FALSE(is_unreachable(asio::error::no_descriptors));
    EXPECT_FALSE(is_unreachable(asio::error::host_not_found));
    EXPECT_FALSE(is_unreachable(asio::error::operation_aborted));
    EXPECT_FALSE(is_unreachable(ProxyErrc::server_login_failed));
}

}  // namespace
}  // namespace pgsteer::proxy
