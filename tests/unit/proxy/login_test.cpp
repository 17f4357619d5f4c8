#include "proxy/login/login.hpp"

#include "proxy/auth/md5.hpp"
#include "proxy/auth/scram.hpp"
#include "proxy/io/asio.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/wire/startup.hpp"
#include "tests/support/other_end.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgsteer::proxy {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// A client on one end of a socket pair, a Login on the other. Nothing waits: each turn runs until
// the login has read what was sent.
class LoginTest : public testing::Test {
protected:
    LoginTest() {
        config_.databases = {{.name = "shop", .server_name = "shop_there"},
                             {.name = "app", .server_name = ""}};
        config_.auth.method = conf::AuthMethod::trust;
        auto& user = config_.auth.users.emplace_back();
        user.name = "alice";
        user.password = conf::Secret{"secret"};
        stream_.emplace(client_.take());
    }
    ~LoginTest() override {
        hang_up();
        stream_->close();
        run();
    }

    void start() {
        credentials_.emplace(config_.auth);
        users_.emplace(*credentials_);
        Login::Surroundings surroundings{config_,
                                         *users_,
                                         counters_,
                                         [this] { return has_too_many_clients_; },
                                         [this] { return is_draining_; },
                                         0x04030201};
        login_.emplace(*stream_, in_, std::move(surroundings));
        asio::co_spawn(io_, login_->run(),
                       [this](const std::exception_ptr& error, Login::Outcome outcome) {
                           EXPECT_EQ(error, nullptr);
                           outcome_ = std::move(outcome);
                       });
        run();
    }
    void run() { client_.run(); }
    void send(std::string_view bytes) { client_.say(bytes); }
    std::string received() { return client_.heard(); }
    void hang_up() { client_.close(); }
    void send_startup(wire::Parameters parameters, std::uint32_t protocol = wire::kProtocol30) {
        wire::Buffer out;
        wire::encode(out, wire::StartupMessage{protocol, std::move(parameters)});
        send({reinterpret_cast<const char*>(out.data()), out.size()});
    }
    void send_password(std::string_view body) {
        wire::Buffer out;
        wire::BodyWriter{out, wire::frontend::kPassword}.bytes(wire::as_bytes(body));
        send({reinterpret_cast<const char*>(out.data()), out.size()});
    }
    template <class T>
    const T* ended_as() {
        return outcome_ ? std::get_if<T>(&*outcome_) : nullptr;
    }
    // Of the only message received.
    static std::string sqlstate_of_error(std::string_view bytes) {
        const auto error = wire::decode_error(wire::as_bytes(bytes).subspan(wire::kHeaderBytes));
        return error ? std::string{error->sqlstate} : "none";
    }

    asio::io_context io_;
    conf::Config config_;
    health::WorkerCounters counters_;
    bool has_too_many_clients_ = false;
    bool is_draining_ = false;
    OtherEnd client_{io_};
    std::optional<auth::Credentials> credentials_;
    std::optional<ConfiguredUsers> users_;
    std::optional<Stream> stream_;
    InputBuffer in_;
    std::optional<Login> login_;
    std::optional<Login::Outcome> outcome_;
};

const auto kOk = "R\0\0\0\10\0\0\0\0"s;

TEST_F(LoginTest, FindsOutWhoTheClientIs) {
    start();
    send_startup({{"user", "alice"}, {"database", "shop"}, {"TimeZone", "UTC"}});
    const auto* routed = ended_as<Login::Routed>();
    ASSERT_NE(routed, nullptr);
    EXPECT_EQ(routed->who.user, "alice");
    EXPECT_EQ(routed->who.database, "shop");
    EXPECT_EQ(routed->who.server_database, "shop_there");
    EXPECT_THAT(routed->who.parameters, ElementsAre(Pair("TimeZone", "UTC")));
    EXPECT_EQ(routed->who.parameters_key, "TimeZone\0UTC\0"s);
    EXPECT_EQ(received(), kOk);
}

TEST_F(LoginTest, ReadsWhatComesInPieces) {
    start();
    wire::Buffer out;
    wire::encode(out, wire::StartupMessage{wire::kProtocol30, {{"user", "app"}}});
    for (const auto byte : out) {
        EXPECT_FALSE(outcome_);
        const char one = static_cast<char>(byte);
        send({&one, 1});
    }
    const auto* routed = ended_as<Login::Routed>();
    ASSERT_NE(routed, nullptr);
    EXPECT_EQ(routed->who.database, "app") << "the user's name";
}

TEST_F(LoginTest, AnswersThatThereIsNoEncryption) {
    start();
    send("\0\0\0\10\4\322\26\57"sv);  // SSLRequest
    EXPECT_EQ(received(), "N");
    send("\0\0\0\10\4\322\26\60"sv);  // GSSENCRequest
    EXPECT_EQ(received(), "N");
    send_startup({{"user", "app"}});
    EXPECT_NE(ended_as<Login::Routed>(), nullptr);
}

TEST_F(LoginTest, TakesNothingThatCameBeforeTheAnswerAboutEncryption) {
    start();
    send("\0\0\0\10\4\322\26\57more"sv);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    EXPECT_EQ(sqlstate_of_error(received().substr(1)), "08P01");
}

TEST_F(LoginTest, HandsOverACancelRequest) {
    start();
    send("\0\0\0\20\4\322\26\56\0\0\0\7\0\0\0\11"sv);
    const auto* cancel = ended_as<Login::CancelDue>();
    ASSERT_NE(cancel, nullptr);
    EXPECT_EQ(cancel->request.process_id, 7U);
    EXPECT_EQ(cancel->request.secret_key, 9U);
    EXPECT_EQ(received(), "");
}

TEST_F(LoginTest, SaysNothingToWhoDoesNotSpeakTheProtocol) {
    start();
    send("\177\177\177\177"sv);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    EXPECT_EQ(received(), "");
    EXPECT_EQ(counters_.logins_failed.get(), 1U);
}

TEST_F(LoginTest, EndsWithItsClient) {
    start();
    send("\0\0"sv);
    hang_up();
    run();
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
}

TEST_F(LoginTest, KnowsAReplicationConnection) {
    start();
    send_startup({{"user", "alice"}, {"database", "nowhere"}, {"replication", "true"}});
    const auto* replication = ended_as<Login::Replication>();
    ASSERT_NE(replication, nullptr) << "physical replication has no database";
    EXPECT_EQ(replication->who.server_database, "");
    EXPECT_THAT(replication->who.parameters, ElementsAre(Pair("replication", "true")));
}

TEST_F(LoginTest, LogicalReplicationHasADatabase) {
    start();
    send_startup({{"user", "alice"}, {"database", "nowhere"}, {"replication", "database"}});
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    EXPECT_EQ(sqlstate_of_error(received().substr(kOk.size())), "3D000");
}

TEST_F(LoginTest, NegotiatesWhatItDoesNotKnow) {
    start();
    send_startup({{"user", "app"}, {"_pq_.wish", "1"}}, wire::kProtocol30 + 2);
    ASSERT_NE(ended_as<Login::Routed>(), nullptr);
    EXPECT_EQ(received(), "v\0\0\0\26\0\3\0\0\0\0\0\1_pq_.wish\0"s + kOk);
}

struct Refusal {
    std::string_view name;
    wire::Parameters parameters;
    bool has_too_many_clients = false;
    bool is_draining = false;
    std::string_view sqlstate;
};

class RefusedLoginTest : public LoginTest, public testing::WithParamInterface<Refusal> {};

TEST_P(RefusedLoginTest, IsToldWhy) {
    has_too_many_clients_ = GetParam().has_too_many_clients;
    is_draining_ = GetParam().is_draining;
    start();
    send_startup(GetParam().parameters);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    auto bytes = received();
    if (bytes.starts_with(kOk)) bytes.erase(0, kOk.size());
    EXPECT_EQ(sqlstate_of_error(bytes), GetParam().sqlstate);
    EXPECT_EQ(counters_.logins_failed.get(), 1U);
}

INSTANTIATE_TEST_SUITE_P(
    Login,
    RefusedLoginTest,
    testing::Values(Refusal{"TooManyClients", {{"user", "app"}}, true, false, "53300"},
                    Refusal{"Draining", {{"user", "app"}}, false, true, "57P03"},
                    Refusal{"NoUser", {{"database", "app"}}, false, false, "28000"},
                    Refusal{"NoDatabase", {{"user", "bob"}}, false, false, "3D000"}),
    [](const auto& test) { return std::string{test.param.name}; });

// --- passwords ---

TEST_F(LoginTest, AcceptsAnMd5Password) {
    config_.auth.method = conf::AuthMethod::md5;
    start();
    send_startup({{"user", "alice"}, {"database", "app"}});
    EXPECT_EQ(received(), "R\0\0\0\14\0\0\0\5\1\2\3\4"s);
    const std::array<std::uint8_t, 4> salt{1, 2, 3, 4};
    send_password(auth::md5_response("alice", "secret", salt) + '\0');
    EXPECT_NE(ended_as<Login::Routed>(), nullptr);
}

TEST_F(LoginTest, RefusesAWrongPassword) {
    config_.auth.method = conf::AuthMethod::md5;
    start();
    send_startup({{"user", "alice"}, {"database", "app"}});
    received();
    send_password("md5wrong\0"sv);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    EXPECT_EQ(sqlstate_of_error(received()), "28P01");
}

TEST_F(LoginTest, ScramAsksAnUnknownUserAsWell) {
    config_.auth.method = conf::AuthMethod::scram_sha_256;
    start();
    send_startup({{"user", "nobody"}, {"database", "app"}});
    EXPECT_THAT(received(), HasSubstr("SCRAM-SHA-256"));
    const auto first = "n,,n=,r=abc"sv;
    send_password("SCRAM-SHA-256\0\0\0\0\13"s + std::string{first});
    EXPECT_THAT(received(), HasSubstr("r=abc"));
    EXPECT_FALSE(outcome_);
    send_password("c=biws,r=wrong,p=AAAA"sv);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
}

TEST_F(LoginTest, ExpectsNothingButThePassword) {
    config_.auth.method = conf::AuthMethod::scram_sha_256;
    start();
    send_startup({{"user", "alice"}, {"database", "app"}});
    received();
    send("Q\0\0\0\5\0"sv);
    EXPECT_NE(ended_as<Login::Refused>(), nullptr);
    EXPECT_EQ(sqlstate_of_error(received()), "08P01");
}

// --- the deadline ---

TEST_F(LoginTest, WhoHasSaidNothingIsToldNothingWhenItIsLate) {
    start();
    login_->end_late();
    EXPECT_EQ(received(), "");
}

TEST_F(LoginTest, WhoWaitsForUsIsToldThatItIsLate) {
    start();
    send_startup({{"user", "app"}});
    received();
    login_->end_late();
    EXPECT_NE(sqlstate_of_error(received()), "none");
}

}  // namespace
}  // namespace pgsteer::proxy
