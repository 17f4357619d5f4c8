// Replication connections: how they are made, and that everything passes.
#include "proxy/session/raw_relay.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using routing::Reason;
using support::message;
using support::ScriptedServers;
using testing::AllOf;
using testing::HasSubstr;

class RawRelayTest : public SessionWorld {
protected:
    explicit RawRelayTest(const Change& change = {}) : SessionWorld{change} {}

    // Whether it is connected to the primary.
    bool connect_relay() {
        const auto connected = base().start(relay_.connect(login_));
        run_until([&] { return connected->has_value(); });
        return **connected;
    }
    [[nodiscard]] std::string client_hears() {
        run();
        return client_end_.heard();
    }

    Login login_{client_.stream,
                 client_.in,
                 {lodging_.config(), *lodging_.generation->users, counters(), {}, {}, 0}};
    RawRelay relay_{lodging_, client_, who_, course_};
};

struct WithServers {
    ScriptedServers servers{support::Fault{}};
};

class RawRelayAtServersTest : private WithServers, public RawRelayTest {
protected:
    RawRelayAtServersTest()
        : RawRelayTest{[this](conf::Config& config) {
              config.servers[0].host = servers.host(ScriptedServers::primary);
              config.auth.users.emplace_back().name = "joe";
          }} {}
    // Between the client and the primary.
    void begin() {
        ASSERT_TRUE(connect_relay());
        (void)client_hears();
        relayed_ = start(relay_.relay());
    }
    std::shared_ptr<std::optional<bool>> relayed_;
};

// --- connect ---

TEST_F(RawRelayTest, IsRefusedWithoutAPrimary) {
    publish([](auto& topology) { topology.primary.reset(); });
    EXPECT_FALSE(connect_relay());
    EXPECT_THAT(client_hears(), AllOf(HasSubstr("SFATAL"), HasSubstr("C57P03")));
    EXPECT_FALSE(relay_.server());
}

TEST_F(RawRelayTest, IsRefusedWhereThePrimaryCannotBeReached) {
    EXPECT_FALSE(connect_relay());
    EXPECT_THAT(client_hears(), HasSubstr("C08001"));
}

TEST_F(RawRelayTest, SpeaksAgainstAPrimaryThatCannotBeReached) {
    EXPECT_FALSE(connect_relay());
    EXPECT_TRUE(base().evidence.suspects(*base().topology_.load()).contains(PoolWorld::kPrimary));
}

TEST_F(RawRelayTest, TellsNothingToASessionThatIsOver) {
    client_.closing = true;
    EXPECT_FALSE(connect_relay());
    EXPECT_EQ(client_hears(), "");
}

TEST_F(RawRelayAtServersTest, TellsTheClientWhatThePrimarySaysOfItself) {
    EXPECT_TRUE(connect_relay());
    EXPECT_THAT(client_hears(), AllOf(HasSubstr("server_version"), HasSubstr(message('Z', "I"))));
}

TEST_F(RawRelayAtServersTest, TellsTheClientAKeyOfOurs) {
    EXPECT_TRUE(connect_relay());
    EXPECT_THAT(client_hears(), HasSubstr(message('K', std::string_view{"\0\0\0\7\0\0\0\52", 8})));
}

TEST_F(RawRelayAtServersTest, KnowsItsServer) {
    EXPECT_TRUE(connect_relay());
    EXPECT_EQ(relay_.server(), PoolWorld::kPrimary);
}

TEST_F(RawRelayAtServersTest, IsCountedAsOneRequest) {
    EXPECT_TRUE(connect_relay());
    const auto& counted = counters().databases.of("app")->servers[0];
    EXPECT_EQ(counted.requests[static_cast<std::size_t>(Reason::replication)].get(), 1U);
}

TEST_F(RawRelayAtServersTest, IsRefusedWhereAnotherServerHasBecomeThePrimary) {
    const auto connected = base().spawn(relay_.connect(login_));
    base().io.restart();
    base().io.poll_one();  // it has begun to connect
    publish([](auto& topology) { topology.primary = PoolWorld::kReplica; });
    run_until([&] { return connected->has_value(); });
    EXPECT_FALSE(**connected);
    EXPECT_THAT(client_hears(), HasSubstr("C57P03"));
}

// --- relay ---

TEST_F(RawRelayAtServersTest, PassesEverythingBothWays) {
    begin();
    client_end_.say(query("SELECT 1"));
    std::string heard;
    run_until([&] {
        heard += client_end_.heard();
        return heard.find(message('Z', "I")) != std::string::npos;
    });
    EXPECT_THAT(heard, HasSubstr("SELECT 1"));
    client_end_.close();
    run_until([&] { return relayed_->has_value(); });
}

TEST_F(RawRelayAtServersTest, EndsWithTheClient) {
    begin();
    EXPECT_FALSE(*relayed_);
    client_end_.close();
    run_until([&] { return relayed_->has_value(); });
    EXPECT_FALSE(client_.stream.is_open());
}

TEST_F(RawRelayAtServersTest, MayBeInterruptedBetweenMessages) {
    begin();
    EXPECT_TRUE(client_.may_be_spoken_to());
    client_end_.close();
    run_until([&] { return relayed_->has_value(); });
}

TEST_F(RawRelayAtServersTest, CountsACancel) {
    begin();
    relay_.cancel();
    EXPECT_EQ(counters().cancels.get(), 1U);
    client_end_.close();
    run_until([&] { return relayed_->has_value(); });
}

}  // namespace
}  // namespace pgsteer::proxy
