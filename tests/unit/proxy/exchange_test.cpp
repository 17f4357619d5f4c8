#include "proxy/server/exchange.hpp"

#include "proxy/server/server_connection.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"
#include "tests/support/other_end.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

// A server on one end of a socket pair, a connection on the other.
class ExchangeTest : public testing::Test {
protected:
    ~ExchangeTest() override {
        connection_->exchange.detach();
        connection_->stream.close();
        connection_->exchange.closed();
        run();
        EXPECT_EQ(connection_.use_count(), 1) << "its reader has ended";
    }

    void run() { server_.run(); }
    void say(std::string_view bytes) { server_.say(bytes); }
    std::string heard() { return server_.heard(); }
    void end() {
        server_.close();
        run();
    }
    void start() {
        connection_->exchange.start();
        run();
    }
    // Whether DISCARD ALL has gone well; nullopt: it is not over.
    std::optional<bool>& reset() {
        asio::co_spawn(io_, discard_all(connection_),
                       [this](const std::exception_ptr&, bool clean) { clean_ = clean; });
        run();
        return clean_;
    }

    class Listener final : public Exchange::Holder {
    public:
        void received(ServerConnection& connection) override {
            const auto bytes = connection.in.data();
            heard.append(bytes.begin(), bytes.end());
            connection.in.consume(bytes.size());
            if (pauses) connection.exchange.pause();
            if (detaches) connection.exchange.detach();
        }
        void ended(ServerConnection&, error_code error) override { ends.push_back(error); }
        std::string heard;
        std::vector<error_code> ends;
        bool pauses = false;
        bool detaches = false;
    };

    asio::io_context io_;
    OtherEnd server_{io_};
    std::shared_ptr<ServerConnection> connection_ =
        std::make_shared<ServerConnection>(server_.take());
    std::optional<bool> clean_;
};

const std::string kCommandComplete =
    "C\0\0\0\x10"
    "DISCARD ALL\0"s;
const std::string kReady = "Z\0\0\0\x05I"s;
const std::string kError =
    "E\0\0\0\x0d"
    "C42P01\0\0\0"s;

TEST_F(ExchangeTest, TellsItsHolderWhatComesAndThatItEnds) {
    Listener listener;
    start();
    connection_->exchange.attach(listener);
    say("one");
    say("two");
    EXPECT_EQ(listener.heard, "onetwo");
    EXPECT_TRUE(listener.ends.empty());
    end();
    ASSERT_EQ(listener.ends.size(), 1U);
    EXPECT_EQ(listener.ends.front(), asio::error::eof);
}

TEST_F(ExchangeTest, WhatComesWithoutAHolderIsForTheNext) {
    Listener first, second;
    start();
    connection_->exchange.attach(first);
    say("a");
    connection_->exchange.detach();
    say("b");
    end();
    EXPECT_EQ(first.heard, "a");
    connection_->exchange.attach(second);
    run();
    EXPECT_EQ(second.heard, "b");
    EXPECT_EQ(second.ends.size(), 1U);
    EXPECT_TRUE(first.ends.empty());
}

TEST_F(ExchangeTest, APausedHolderHearsNothingUntilItGoesOn) {
    Listener listener;
    listener.pauses = true;
    start();
    connection_->exchange.attach(listener);
    say("a");
    say("b");
    EXPECT_EQ(listener.heard, "a");
    connection_->exchange.resume();
    run();
    EXPECT_EQ(listener.heard, "ab");
}

TEST_F(ExchangeTest, ANewHolderIsNotPaused) {
    Listener first, second;
    first.pauses = true;
    start();
    connection_->exchange.attach(first);
    say("a");
    connection_->exchange.attach(second);
    say("b");
    EXPECT_EQ(second.heard, "b");
}

TEST_F(ExchangeTest, AHolderMayLeaveWhileItIsTold) {
    Listener listener;
    listener.detaches = true;
    start();
    connection_->exchange.attach(listener);
    say("a");
    end();
    EXPECT_EQ(listener.heard, "a");
    EXPECT_TRUE(listener.ends.empty());
}

TEST_F(ExchangeTest, TellsAlsoOfAnEndThatWasMadeHere) {
    Listener listener;
    start();
    connection_->exchange.attach(listener);
    connection_->stream.close();
    run();
    EXPECT_EQ(listener.ends.size(), 1U);
}

// Takes the answers to what it has asked, to ReadyForQuery each, and no more.
class Asker final : public Exchange::Holder {
public:
    explicit Asker(ServerConnection& connection)
        : connection_{connection}, id{connection.exchange.attach(*this)} {}
    void ask() { connection_.replies.push({.what = Expect::query}); }
    void received(ServerConnection& connection) override {
        ++times_told;
        while (!connection.in.empty() && connection.replies.addressee() == id) {
            const auto header = wire::peek_header(connection.in.data(), 1024);
            if (!header || !*header) return;
            const auto whole = connection.in.data().first((*header)->message_bytes());
            heard.append(whole.begin(), whole.end());
            connection.in.consume(whole.size());
            if ((*header)->type == wire::backend::kReadyForQuery) connection.replies.pop();
        }
    }
    void ended(ServerConnection& connection, error_code) override {
        connection.exchange.leave(id);
        ++times_ended;
    }

private:
    ServerConnection& connection_;

public:
    const HolderId id;
    std::string heard;
    int times_told = 0;
    int times_ended = 0;
};

std::string answer(const std::string& tag) {
    std::string message = "C\0\0\0"s;
    message += static_cast<char>(4 + tag.size() + 1);
    return message + tag + '\0' + kReady;
}

TEST_F(ExchangeTest, AnswersToSeveralHoldersAreSplitAtReadyForQuery) {
    start();
    Asker first{*connection_};
    first.ask();
    Asker second{*connection_};
    second.ask();
    second.ask();
    Asker third{*connection_};
    third.ask();
    say(answer("1") + answer("2") + answer("3") + answer("4"));  // in one packet
    EXPECT_EQ(first.heard, answer("1"));
    EXPECT_EQ(second.heard, answer("2") + answer("3"));
    EXPECT_EQ(third.heard, answer("4"));
    EXPECT_EQ(second.times_told, 1);
    EXPECT_TRUE(connection_->in.empty());
}

TEST_F(ExchangeTest, WhatIsOwedToAHolderThatHasLeftIsHeardByTheLast) {
    start();
    Asker first{*connection_};
    first.ask();
    Asker second{*connection_};
    connection_->exchange.leave(first.id);
    second.ask();
    Listener listener;
    connection_->exchange.attach(listener);
    say(answer("1"));
    EXPECT_EQ(first.heard, "");
    EXPECT_EQ(second.heard, "");
    EXPECT_EQ(listener.heard, answer("1"));
}

TEST_F(ExchangeTest, AHolderSpeaksAgainWhenTheLaterOneHasLeft) {
    start();
    Asker first{*connection_};
    Asker second{*connection_};
    connection_->exchange.leave(second.id);
    first.ask();
    const auto notice = "N\0\0\0\x05\0"s;  // nobody's answer
    say(answer("1") + notice);
    EXPECT_EQ(first.heard, answer("1") + notice);
    EXPECT_FALSE(connection_->exchange.is_held_by(second));
    EXPECT_TRUE(connection_->exchange.is_held_by(first));
}

TEST_F(ExchangeTest, AllHoldersAreToldOfTheEndOnce) {
    start();
    Asker first{*connection_};
    first.ask();
    Asker second{*connection_};
    second.ask();
    end();
    EXPECT_EQ(first.times_ended, 1);
    EXPECT_EQ(second.times_ended, 1);
    EXPECT_FALSE(connection_->exchange.is_held_by(first));
}

TEST_F(ExchangeTest, OneHolderThatTakesNoMoreHoldsUpTheOthers) {
    start();
    Listener listener;
    listener.pauses = true;
    connection_->exchange.attach(listener);
    connection_->replies.push({.what = Expect::query});
    Asker second{*connection_};
    second.ask();
    connection_->replies.pop();  // as if it had been answered
    connection_->exchange.pause();
    say(answer("2"));
    EXPECT_EQ(second.heard, answer("2"));  // the reader was waiting already
    say("x");
    EXPECT_EQ(second.times_told, 1);
    connection_->exchange.resume();
    run();
    EXPECT_EQ(second.times_told, 2);
}

TEST_F(ExchangeTest, RunsWhatIsLastBehindWhatIsOwed) {
    connection_->replies.push(
        {.what = Expect::query, .internal = true, .purpose = Purpose::sample});
    start();
    reset();
    EXPECT_NE(heard().find("DISCARD ALL"), std::string::npos);
    say(kError);
    say(kReady);  // to what was owed
    EXPECT_EQ(clean_, std::nullopt);
    say(kCommandComplete + kReady.substr(0, 3));
    EXPECT_EQ(clean_, std::nullopt);
    say(kReady.substr(3));
    EXPECT_EQ(clean_, true);
    EXPECT_TRUE(connection_->replies.empty());
    EXPECT_TRUE(connection_->in.empty());
}

TEST_F(ExchangeTest, WhatGoesWrongWithTheLastIsTold) {
    start();
    reset();
    say(kError + kReady);
    EXPECT_EQ(clean_, false);
}

TEST_F(ExchangeTest, AnOpenTransactionIsNoGoodEnd) {
    start();
    reset();
    say(kCommandComplete + "Z\0\0\0\x05T"s);
    EXPECT_EQ(clean_, false);
}

TEST_F(ExchangeTest, WhatNoServerSaysIsNoGoodEnd) {
    start();
    reset();
    say("1\0\0\0\x04"s);
    EXPECT_EQ(clean_, false);
}

TEST_F(ExchangeTest, AnEndInTheMiddleIsNoGoodEnd) {
    start();
    reset();
    say(kCommandComplete);
    end();
    EXPECT_EQ(clean_, false);
}

TEST_F(ExchangeTest, ParametersAreLearntByTheWay) {
    start();
    reset();
    say("S\0\0\0\x11"
        "TimeZone\0UTC\0"s +
        kCommandComplete + kReady);
    EXPECT_EQ(clean_, true);
    ASSERT_NE(connection_->parameters.find("TimeZone"), nullptr);
    EXPECT_EQ(*connection_->parameters.find("TimeZone"), "UTC");
}

TEST_F(ExchangeTest, UntilEndLetsEverythingPassBy) {
    bool is_over = false;
    start();
    asio::co_spawn(io_, until_end(connection_), [&](const std::exception_ptr&) { is_over = true; });
    say(std::string(100'000, 'x'));
    EXPECT_FALSE(is_over);
    EXPECT_TRUE(connection_->in.empty());
    end();
    EXPECT_TRUE(is_over);
}

TEST_F(ExchangeTest, UntilEndReadsByItselfWhatNobodyReads) {
    bool is_over = false;
    asio::co_spawn(io_, until_end(connection_), [&](const std::exception_ptr&) { is_over = true; });
    say("bye");
    EXPECT_FALSE(is_over);
    end();
    EXPECT_TRUE(is_over);
}

}  // namespace
}  // namespace pgsteer::proxy
