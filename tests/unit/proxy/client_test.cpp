// The client's end of a session.
#include "proxy/session/client.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ClientTest : public SessionWorld {
protected:
    [[nodiscard]] std::string heard() {
        run();
        return client_end_.heard();
    }
    // What the session has received of it so far.
    void read() { (void)client_.stream.read_available(client_.in); }
};

// --- in our own words ---

TEST_F(ClientTest, IsToldOfAnErrorAsTheTableSays) {
    client_.send_error("ERROR", ProxyErrc::no_primary);
    const auto& error = info(ProxyErrc::no_primary);
    EXPECT_THAT(heard(), AllOf(HasSubstr("SERROR"), HasSubstr("C" + std::string{error.sqlstate}),
                               HasSubstr("M" + std::string{error.message})));
}

TEST_F(ClientTest, IsToldOfAnErrorInOtherWords) {
    client_.send_error("FATAL", ProxyErrc::no_primary, "in other words");
    EXPECT_THAT(heard(), AllOf(HasSubstr("SFATAL"), HasSubstr("Min other words"),
                               Not(HasSubstr(std::string{info(ProxyErrc::no_primary).message}))));
}

TEST_F(ClientTest, CountsErrorsByWhatTheyAre) {
    client_.send_error("ERROR", ProxyErrc::no_primary);
    EXPECT_EQ(counters().errors[static_cast<std::size_t>(ProxyErrc::no_primary)].get(), 1U);
    EXPECT_EQ(counters().errors[static_cast<std::size_t>(ProxyErrc::server_lost)].get(), 0U);
}

TEST_F(ClientTest, IsToldTheStateOfItsTransaction) {
    client_.send_ready(routing::TransactionStatus::failed);
    EXPECT_EQ(heard(), support::message('Z', "E"));
}

TEST_F(ClientTest, MayBeSpokenToWhereNothingIsRelayed) { EXPECT_TRUE(client_.may_be_spoken_to()); }

TEST_F(ClientTest, MayBeSpokenToBetweenTwoRelayedMessages) {
    wire::MessageBoundary relayed;
    client_.relayed = &relayed;
    relayed.passed(wire::as_bytes(support::message('d', "x")));
    EXPECT_TRUE(client_.may_be_spoken_to());
}

TEST_F(ClientTest, MayNotBeSpokenToInTheMiddleOfARelayedMessage) {
    wire::MessageBoundary relayed;
    client_.relayed = &relayed;
    relayed.passed(wire::as_bytes(support::message('d', "x")).first(3));
    EXPECT_FALSE(client_.may_be_spoken_to());
}

// --- one that has gone ---

TEST_F(ClientTest, HasNotGoneAsLongAsItIsConnected) {
    EXPECT_FALSE(client_.has_gone());
    EXPECT_FALSE(client_.has_gone());
}

TEST_F(ClientTest, HasGoneAtTheSecondLook) {
    client_end_.close();
    EXPECT_FALSE(client_.has_gone());
    EXPECT_TRUE(client_.has_gone());
}

TEST_F(ClientTest, HasNotGoneWhileWhatItSaidBeforeIsRead) {
    client_end_.say(query("commit"));
    client_end_.close();
    EXPECT_FALSE(client_.has_gone());
    read();
    EXPECT_FALSE(client_.has_gone());
    EXPECT_TRUE(client_.has_gone());
}

}  // namespace
}  // namespace pgsteer::proxy
