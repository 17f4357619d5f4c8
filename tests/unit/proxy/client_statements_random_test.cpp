// Random requests of a client that has two connections, beside one that has one: every message is
// answered alike.
#include "proxy/session/client_statements.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "tests/support/names_server.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing_support::kNames;
using testing_support::NamesServer;
using testing_support::set_or;
using Message = NamesServer::Message;
using Kind = Message::Kind;
using Step = NamesServer::Step;
using Answer = NamesServer::Answer;
using Answers = std::vector<Answer>;

constexpr int kEmptyText = 1'000'000;

// Its SQL is a number.
int number_in(const PreparedText& text) {
    const auto body = wire::Bytes{text.definition}.subspan(wire::kHeaderBytes);
    const auto sql = text.in_sql ? std::string{wire::as_text(body.first(body.size() - 1))}
                                 : std::string{wire::decode_parse(body)->sql};
    return std::stoi(sql);
}

routing::StatementPtr said(const std::vector<Step>& steps) {
    using Effect = routing::Effect;
    auto statement = std::make_shared<routing::CachedStatement>();
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto& step = steps[i];
        if (step.what == Step::What::select) continue;
        Effect effect{};
        effect.kind = step.what == Step::What::prepare      ? Effect::Kind::prepare
                      : step.what == Step::What::deallocate ? Effect::Kind::deallocate
                                                            : Effect::Kind::deallocate_all;
        effect.statement_index = static_cast<std::uint16_t>(i);
        effect.name = NamesServer::Names{{step.name.substr(0, 63), 0}}.begin()->first;
        effect.sql = std::to_string(step.text);
        statement->statement.effects.push_back(std::move(effect));
    }
    return statement;
}

// A server, one connection to it, and what is under way there.
struct Connection {
    struct Sent {
        Message message;
        ClientStatements::Sent told;
        Answers* answers;  // of the client's message; null: it is ours
    };
    NamesServer server;
    Ledger ledger;
    std::deque<Sent> sent;
};

class Session {
public:
    explicit Session(std::uint32_t seed) : random_{seed} {}

    bool run() {
        for (int step = 0; step < 40 && !testing::Test::HasFailure(); ++step) {
            const auto what = below(10);
            if (what < 4) {
                start_request();
            } else if (what < 8) {
                server_goes_on();
            } else if (what == 8) {
                drain();
            } else if (below(2) == 0) {
                lose_a_connection();
            }
        }
        drain();
        for (std::size_t i = 0; i < requests_.size(); ++i) check(requests_[i]);
        return !testing::Test::HasFailure();
    }

private:
    struct Request {
        std::vector<Message> messages;
        std::vector<Answers> expected;
        std::vector<Answers> answers;
        bool is_over = false;
    };

    std::uint32_t below(std::uint32_t end) {
        return std::uniform_int_distribution<std::uint32_t>{0, end - 1}(random_);
    }
    const std::string& any_named() { return kNames[1 + below(kNames.size() - 1)]; }
    Connection& current() { return *connections_[current_]; }

    Step any_step() {
        switch (below(6)) {
            case 0:
            case 1:
                return {Step::What::prepare, any_named(), ++texts_};
            case 2:
                return {Step::What::deallocate, any_named(), 0};
            case 3:
                return {Step::What::deallocate_all, {}, 0};
            default:
                return {};
        }
    }
    Message any_extended() {
        Message message;
        message.name = kNames[below(kNames.size())];
        switch (below(8)) {
            case 0:
            case 1:
            case 2:
                message.kind = Kind::parse;
                message.text = ++texts_;
                break;
            case 3:
                message.kind = Kind::close;
                break;
            case 4:
                message.kind = Kind::execute;
                message.steps = {any_step()};
                break;
            default:
                message.kind = Kind::bind;
        }
        if (below(8) == 0) message.fails_at = 0;
        return message;
    }
    void start_request() {
        auto& request = requests_.emplace_back();
        if (below(4) == 0) {
            auto& query = request.messages.emplace_back();
            query.kind = Kind::query;
            query.steps.resize(below(3));
            for (auto& step : query.steps) step = any_step();
            if (below(4) == 0) query.fails_at = below(2);
        } else {
            for (auto count = below(5); count > 0; --count)
                request.messages.push_back(any_extended());
            request.messages.emplace_back().kind = Kind::sync;
        }
        for (const auto& message : request.messages)
            request.expected.push_back(direct_.run(message));
        request.answers.resize(request.messages.size());
        const std::size_t to = below(2);
        if (to != current_ || !are_certain(request)) drain();
        if (testing::Test::HasFailure()) return;
        current_ = to;
        send(request);
    }
    bool are_certain(const Request& request) {
        for (const auto& message : request.messages) {
            if (!client_.is_certain(message.name)) return false;
            for (const auto& step : message.steps)
                if (!client_.is_certain(step.name)) return false;
        }
        return true;
    }

    void send(Request& request) {
        if (current().sent.empty() && below(2) == 0) close_leftovers();
        for (std::size_t i = 0; i < request.messages.size(); ++i) {
            const auto& message = request.messages[i];
            prepare_for(message);
            current().sent.push_back({message, tell(message), &request.answers[i]});
        }
        in_flight_.push_back(&request);
    }
    ClientStatements::Sent tell(const Message& message) {
        auto& ledger = current().ledger;
        switch (message.kind) {
            case Kind::parse: {
                wire::Buffer parse;
                wire::encode_parse(parse, message.name, std::to_string(message.text), {});
                return client_.parse(message.name, parse, nullptr, ledger);
            }
            case Kind::close:
                note_leftover(message.name);
                return client_.close(message.name, ledger);
            case Kind::query:
                for (const auto& step : message.steps) note_leftover(step.name);
                return client_.send(MessageKind::query, said(message.steps), ledger);
            case Kind::sync:
                return client_.send(MessageKind::sync, nullptr, ledger);
            default:
                return client_.send(MessageKind::extended, said(message.steps), ledger);
        }
    }

    // What the connection lacks.
    void prepare_for(const Message& message) {
        auto& ledger = current().ledger;
        if (message.kind == Kind::bind)
            return add(client_.needed(message.name, ledger).lack, message.name, true);
        if (message.kind == Kind::parse && !message.name.empty())
            return add(client_.lack_of_any(message.name, ledger), message.name, false);
        const auto before = current().sent.size();
        for (const auto& step : message.steps)
            if (step.what == Step::What::prepare || step.what == Step::What::deallocate)
                add(client_.lack_of_any(step.name, ledger), step.name, false);
        if (message.kind != Kind::query || current().sent.size() == before) return;
        Message sync;
        sync.kind = Kind::sync;
        current().sent.push_back({sync, {{}, ledger.names().send(MessageKind::sync)}, nullptr});
    }
    void add(Lack lack, const std::string& name, bool is_text_needed) {
        if (lack == Lack::close || lack == Lack::close_and_parse) add_close(name);
        if (lack == Lack::close || lack == Lack::nothing) return;
        auto& [server, ledger, sent] = current();
        Message message;
        message.name = name;
        const auto text = is_text_needed ? client_.find(name) : nullptr;
        message.text = text ? number_in(*text) : kEmptyText;
        const NamedStatement has{.id = text ? text->id : Ledger::kUnknown};
        SentMessage told;
        if (text && text->in_sql) {
            message.kind = Kind::execute;
            message.steps = {{Step::What::prepare, name, message.text}};
            told = ledger.names().send(MessageKind::extended);
            ledger.names().prepare(name, has, 0);
        } else {
            message.kind = Kind::parse;
            told = ledger.names().parse(name, has);
        }
        sent.push_back({message, {{}, told}, nullptr});
    }
    void add_close(const std::string& name) {
        Message close;
        close.kind = Kind::close;
        close.name = name;
        current().sent.push_back({close, {{}, current().ledger.names().close(name)}, nullptr});
    }
    void note_leftover(const std::string& name) {
        connections_[1 - current_]->ledger.left_over(name);
    }
    void close_leftovers() {
        auto& [server, ledger, sent] = current();
        const auto leftovers = ledger.take_leftovers([&](const std::string& name, auto id) {
            const auto text = client_.find(name);
            return text && text->id == id;
        });
        if (leftovers.names.empty()) return;
        for (const auto& name : leftovers.names) add_close(name);
        Message sync;
        sync.kind = Kind::sync;
        sent.push_back({sync, {{}, ledger.names().send(MessageKind::sync)}, nullptr});
    }

    void server_goes_on() {
        if (current().sent.empty()) return;
        if (current_ == kReplica && below(12) == 0) return replica_cannot();
        answer_next(false);
    }
    void answer_next(bool is_discarded) {
        auto& [server, ledger, sent] = current();
        const auto next = std::move(sent.front());
        sent.pop_front();
        const bool is_told = next.answers != nullptr && !is_discarded;
        bool is_answered = false;
        server.run(next.message, [&](const Answer& answer) {
            is_answered = true;
            if (next.answers == nullptr) {
                EXPECT_NE(answer.what, Answer::What::error) << "of ours: " << answer.sqlstate;
            }
            on(answer, next, is_told);
        });
        if (is_answered) return;
        ledger.skipped(next.told.on_server);
        if (is_told) client_.skipped(next.told.of_client);
    }
    void on(const Answer& answer, const Connection::Sent& sent, bool is_told) {
        auto& ledger = current().ledger;
        if (is_told) sent.answers->push_back(answer);
        switch (answer.what) {
            case Answer::What::complete:
                ledger.completed(sent.told.on_server, answer.step);
                if (is_told) client_.completed(sent.told.of_client, answer.step);
                return;
            case Answer::What::error:
                ledger.failed(sent.told.on_server);
                if (is_told) client_.failed(sent.told.of_client);
                return;
            case Answer::What::ready:
                ledger.skipped(sent.told.on_server);
                if (!is_told) return;
                client_.skipped(sent.told.of_client);
                client_.commit();
                in_flight_.front()->is_over = true;
                in_flight_.pop_front();
        }
    }
    // What is not over runs again on the primary; meanwhile the replica goes on for nobody.
    void replica_cannot() {
        auto& front = current().sent.front();
        if (front.message.kind != Kind::sync && front.answers != nullptr)
            front.message.fails_at = 0;
        client_.withdraw();
        while (!current().sent.empty()) answer_next(true);
        run_again();
    }
    void run_again() {
        current_ = kPrimary;
        const auto again = std::exchange(in_flight_, {});
        for (auto* const request : again) {
            for (auto& answers : request->answers) answers.clear();
            if (!are_certain(*request)) drain();
            send(*request);
        }
    }
    void lose_a_connection() {
        const std::size_t which = below(2);
        const bool is_busy = which == current_ && !current().sent.empty();
        if (is_busy && which == kPrimary) return;
        connections_[which] = std::make_unique<Connection>();
        if (!is_busy) return;
        client_.withdraw();
        run_again();
    }
    void drain() {
        while (!current().sent.empty() && !testing::Test::HasFailure()) server_goes_on();
    }

    static void check(const Request& request) {
        EXPECT_TRUE(request.is_over);
        for (std::size_t i = 0; i < request.messages.size(); ++i)
            EXPECT_EQ(request.answers[i], request.expected[i])
                << "message " << i << " of kind " << static_cast<int>(request.messages[i].kind);
    }

    static constexpr std::size_t kPrimary = 0;
    static constexpr std::size_t kReplica = 1;
    std::mt19937 random_;
    int texts_ = 0;
    NamesServer direct_;
    ClientStatements client_;
    std::array<std::unique_ptr<Connection>, 2> connections_{std::make_unique<Connection>(),
                                                            std::make_unique<Connection>()};
    std::size_t current_ = kPrimary;
    std::deque<Request> requests_;
    std::deque<Request*> in_flight_;
};

TEST(ClientStatementsAtRandom, AreAnsweredAsByOneServer) {
    const auto seed = set_or("SEED", std::random_device{}());
    const auto rounds = set_or("ROUNDS", 5'000);
    for (std::uint32_t i = 0; i < rounds; ++i)
        ASSERT_TRUE(Session(seed + i).run()) << "SEED=" << seed + i;
}

}  // namespace
}  // namespace pgsteer::proxy
