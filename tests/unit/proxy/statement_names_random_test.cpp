// Random scripts against a model of the server.
#include "proxy/server/statement_names.hpp"
#include "tests/support/names_server.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <utility>

namespace pgsteer::proxy {
namespace {

using testing_support::kNames;
using testing_support::NamesServer;
using testing_support::set_or;
using Message = NamesServer::Message;
using Kind = Message::Kind;
using Step = NamesServer::Step;
using Answer = NamesServer::Answer;

// One connection, and one log of it: that of a connection, or that of a client whose requests may
// be taken back.
class Script {
public:
    // copies: a COPY FROM STDIN reads some Syncs, of which the log learns in the end.
    enum class Of { connection, client, copies };

    Script(std::uint32_t seed, Of of) : random_{seed}, of_{of} {}

    // False: the two differ, which has been said.
    bool run() {
        for (int step = 0; step < 60 && !testing::Test::HasFailure(); ++step) {
            const auto what = below(16);
            if (what < 8) {
                send(any_message());
            } else if (what < 15) {
                server_goes_on();
            } else if (of_ == Of::client) {
                withdraw();
            }
            if (below(3) == 0) check_after();
            if (below(20) == 0) check_certain();
        }
        Message sync;
        sync.kind = Kind::sync;
        send(sync);
        while (!sent_.empty() && !testing::Test::HasFailure()) server_goes_on();
        for (const auto& name : kNames) {
            EXPECT_EQ(text(log_.after(name)), server_.text_of(name)) << name;
            EXPECT_TRUE(log_.is_certain(name)) << name;
        }
        EXPECT_EQ(log_.size(), server_.names().size() - server_.names().count(""));
        return !testing::Test::HasFailure();
    }

private:
    struct Sent {
        Message message;
        SentMessage told = {};
        // What its name meant in advance, if that was certain.
        std::optional<int> next = {};
    };

    std::uint32_t below(std::uint32_t end) {
        return std::uniform_int_distribution<std::uint32_t>{0, end - 1}(random_);
    }
    const std::string& any_name() { return kNames[below(kNames.size())]; }
    static int text(const NamedStatement& statement) { return static_cast<int>(statement.id); }
    static NamedStatement statement(int text) { return {.id = static_cast<std::uint64_t>(text)}; }

    Step any_step() {
        switch (below(8)) {
            case 0:
            case 1:
                return {Step::What::prepare, kNames[1 + below(kNames.size() - 1)], ++texts_};
            case 2:
            case 3:
                return {Step::What::deallocate, kNames[1 + below(kNames.size() - 1)], 0};
            case 4:
                return {Step::What::deallocate_all, {}, 0};
            default:
                return {};
        }
    }
    Message any_message() {
        Message message;
        message.name = any_name();
        switch (below(12)) {
            case 0:
            case 1:
            case 2:
                message.kind = Kind::parse;
                message.text = ++texts_;
                break;
            case 3:
            case 4:
                message.kind = Kind::bind;
                break;
            case 5:
                message.kind = Kind::close;
                break;
            case 6:
                message.kind = Kind::execute;
                message.steps = {any_step()};
                break;
            case 7:
            case 8:
                message.kind = Kind::query;
                message.steps.resize(below(4));
                for (auto& step : message.steps) step = any_step();
                break;
            case 9:
                message.kind = Kind::call;
                break;
            default:
                message.kind = Kind::sync;
        }
        return message;
    }

    void tell(const Step& step, std::uint16_t index) {
        if (step.what == Step::What::prepare) log_.prepare(step.name, statement(step.text), index);
        if (step.what == Step::What::deallocate) log_.deallocate(step.name, index);
        if (step.what == Step::What::deallocate_all) log_.deallocate_all(index);
    }
    void send(Message message) {
        Sent sent{.message = std::move(message)};
        const auto& m = sent.message;
        const bool is_ignored =
            server_.is_skipping() && sent_.empty() && m.kind != Kind::sync && below(2) == 0;
        if (is_ignored) return sent_.push_back(std::move(sent));  // and need not be told
        if (const auto* const next = log_.next(m.name)) sent.next = text(*next);
        switch (m.kind) {
            case Kind::parse:
                sent.told = log_.parse(m.name, statement(m.text));
                break;
            case Kind::close:
                sent.told = log_.close(m.name);
                break;
            case Kind::query:
                sent.told = log_.send(MessageKind::query);
                break;
            case Kind::call:
                sent.told = log_.send(MessageKind::function_call);
                break;
            case Kind::sync:
                sent.told = log_.send(MessageKind::sync);
                break;
            default:
                sent.told = log_.send(MessageKind::extended);
        }
        for (std::size_t i = 0; i < m.steps.size(); ++i)
            tell(m.steps[i], static_cast<std::uint16_t>(i));
        sent_.push_back(std::move(sent));
    }

    void server_goes_on() {
        if (sent_.empty()) return;
        auto sent = std::move(sent_.front());
        sent_.pop_front();
        if (below(6) == 0) sent.message.fails_at = below(3);
        if (sent.message.kind == Kind::sync && of_ == Of::copies && !sent_.empty() && below(3) == 0)
            return log_.skipped(sent.told);
        if (sent.next && !server_.is_skipping() && of_ != Of::copies) {
            EXPECT_EQ(*sent.next, server_.text_of(sent.message.name)) << "in advance";
        }
        bool is_answered = false;
        server_.run(sent.message, [&](const Answer& answer) {
            is_answered = true;
            on(answer, sent);
            for (const auto& name : kNames)
                EXPECT_EQ(text(log_.now(name)), server_.text_of(name)) << "now " << name;
        });
        if (!is_answered && (of_ == Of::copies || below(2) == 0)) log_.skipped(sent.told);
    }
    void on(const Answer& answer, const Sent& sent) {
        switch (answer.what) {
            case Answer::What::complete:
                log_.completed(sent.told, answer.step);
                break;
            case Answer::What::error:
                log_.failed(sent.told);
                break;
            case Answer::What::ready:
                log_.skipped(sent.told);
                log_.commit();
                at_last_ready_ = server_;
                return;
        }
        if (of_ == Of::connection) log_.commit();
    }

    // All that has been sent since the last ReadyForQuery runs on another server, which has seen
    // what came before.
    void withdraw() {
        log_.withdraw();
        server_ = at_last_ready_;
        sent_.clear();
        for (const auto& name : kNames)
            EXPECT_EQ(text(log_.now(name)), server_.text_of(name)) << "withdrawn " << name;
    }

    void check_after() {
        if (of_ == Of::copies) return;
        auto server = server_;
        for (const auto& sent : sent_)
            if (sent.message.kind != Kind::bind) server.run(sent.message);  // of what is not there
        for (const auto& name : kNames)
            EXPECT_EQ(text(log_.after(name)), server.text_of(name)) << "after " << name;
    }
    void check_certain() {
        if (of_ == Of::copies) return;
        for (int round = 0; round < 6; ++round) {
            auto server = server_;
            for (const auto& sent : sent_) {
                auto message = sent.message;
                if (below(3) == 0) message.fails_at = below(3);
                server.run(message);
            }
            for (const auto& name : kNames) {
                if (!log_.is_certain(name)) continue;
                EXPECT_EQ(text(log_.now(name)), server.text_of(name)) << "certain " << name;
            }
        }
    }

    std::mt19937 random_;
    Of of_;
    int texts_ = 0;
    StatementNames log_{100};
    NamesServer server_;
    NamesServer at_last_ready_;
    std::deque<Sent> sent_;
};

void run_many(Script::Of of) {
    const auto seed = set_or("SEED", std::random_device{}());
    const auto rounds = set_or("ROUNDS", 8'000);
    for (std::uint32_t i = 0; i < rounds; ++i)
        ASSERT_TRUE(Script(seed + i, of).run()) << "SEED=" << seed + i;
}

TEST(StatementNamesAtRandom, AreThoseOfTheServerOnAConnection) { run_many(Script::Of::connection); }

TEST(StatementNamesAtRandom, AreThoseOfTheServerForAClientWhoseRequestsAreTakenBack) {
    run_many(Script::Of::client);
}

TEST(StatementNamesAtRandom, AreThoseOfTheServerWhereCopiesReadSyncs) {
    run_many(Script::Of::copies);
}

}  // namespace
}  // namespace pgsteer::proxy
