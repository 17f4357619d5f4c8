// Whole sessions between scripted peers: each script is replayed with each fault at each message
// that a server sends. Whatever goes wrong, the client gets what it would have got, or the
// beginning of it and an error or the end of its connection; nothing hangs, nothing is left, no
// write runs twice.
#include "proxy/worker.hpp"
#include "tests/support/scripted_peers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <ostream>
#include <sys/socket.h>
#include <thread>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using support::Fault;
using support::message;
using support::ScriptedClient;
using support::ScriptedServers;
using Messages = std::vector<ScriptedClient::Message>;

std::string query(const std::string& sql) { return message('Q', sql + '\0'); }
std::string parse(const std::string& name, const std::string& sql) {
    return message('P', name + '\0' + sql + '\0' + "\0\0"s);
}
std::string run(const std::string& statement) {  // Bind, Describe, Execute of the unnamed portal
    return message('B', "\0"s + statement + '\0' + "\0\0\0\0\0\0"s) + message('D', "P\0"s) +
           message('E', "\0\0\0\0\0"s);
}
const std::string kSync = message('S', {});
const std::string kWrite = "INSERT INTO t DEFAULT VALUES";

// One worker of pgsteer with a primary and a replica, as if they had been found healthy.
class World {
public:
    explicit World(Fault fault) : servers_{fault}, client_{[this] { return is_in_silence(); }} {
        auto config = std::make_shared<conf::Config>();
        for (const auto which : {ScriptedServers::primary, ScriptedServers::replica}) {
            auto& server = config->servers.emplace_back();
            server.name = which == ScriptedServers::primary ? "primary" : "replica";
            server.host = servers_.host(which);
            server.connect_timeout = 10min;
        }
        config->databases.push_back({.name = "app", .server_name = {}});
        config->health.interval = 1h;  // evidence does not grow old
        config->auth.method = conf::AuthMethod::trust;
        config->auth.users.emplace_back().name = "joe";
        config->log.level = conf::LogLevel::error;
        config->pool.size = 4;
        generations_ = std::make_unique<Generations>(config);
        const auto generation = generations_->current();
        topology_ = std::make_unique<health::TopologyStore>(healthy());
        catalogs_ = std::make_unique<health::Catalogs>(config, generation->servers, *topology_);
        publish_catalog();
        shared_.reset(
            new Shared{.facts = {*topology_, evidence_, *catalogs_, {}, SessionNumbers{0}}});
        const auto nobody = [](std::size_t, const std::function<void(Worker&)>&) {};
        worker_ = std::make_unique<Worker>(0, generation, *shared_, nobody, nobody);
        worker_->start();
        log_in(client_, "app");
    }
    ~World() {
        worker_->post([](Worker& worker) { worker.stop(); });
        worker_->join();
    }
    World(const World&) = delete;

    ScriptedClient& client() { return client_; }
    void log_in(ScriptedClient& client, const std::string& database) {
        shared_->facts.clients.came();
        const int socket = client.other_end();
        worker_->post([socket](Worker& worker) { worker.accept(socket, AF_UNIX); });
        client.send(message(0, "\0\3\0\0user\0joe\0database\0"s + database + "\0\0"s));
    }
    // Another generation is the current one when this returns.
    void reload(const std::function<void(conf::Config&)>& change) {
        auto config = std::make_shared<conf::Config>(*generations_->current()->config);
        change(*config);
        const auto next = generations_->prepare(config);
        generations_->publish(next);
        std::promise<void> adopted;
        worker_->post([&](Worker& worker) {
            worker.adopt(next);
            adopted.set_value();
        });
        adopted.get_future().get();
    }
    ScriptedServers& servers() { return servers_; }

    // The client has gone: nothing remains of its session.
    void expect_nothing_is_left() {
        client_.close();
        const auto end = std::chrono::steady_clock::now() + support::kPatience;
        while (shared_->facts.clients.get() > 0 && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(1ms);
        EXPECT_EQ(shared_->facts.clients.get(), 0) << "the session is still there";
        std::promise<std::vector<std::uint32_t>> asked;
        worker_->post([&asked](Worker& worker) {
            const auto counts = worker.surroundings().in_flight();
            asked.set_value({counts.begin(), counts.end()});
        });
        const std::vector<std::uint32_t> none(health::ServerIds::kMost);
        EXPECT_EQ(asked.get_future().get(), none) << "requests are still counted";
    }

private:
    static health::TopologyPtr healthy() {
        auto topology = std::make_shared<routing::Topology>();
        topology->version = 1;
        topology->servers.resize(2);
        const auto now = routing::Clock::now();
        for (auto& server : topology->servers) {
            server.role = routing::Role::replica;
            server.status = routing::Status::healthy;
            server.max_lag = 1h;
            server.incarnation = {1, 1, 1, 1};
            server.fresh_as_of = now + 24h;
            server.checked_at = now;
        }
        topology->servers[0].role = routing::Role::primary;
        topology->primary = routing::ServerId{0};
        return topology;
    }
    void publish_catalog() {
        routing::CatalogFacts facts;
        facts.default_search_path = "\"$user\", public";
        facts.default_isolation = "read committed";
        auto catalog =
            routing::build_catalog(facts, std::make_shared<const routing::FunctionOverrides>());
        catalog->set_epoch(1);
        const auto store = catalogs_->database("app");
        store->publish(std::move(catalog));
        store->tried();
    }
    bool is_in_silence() { return servers_.fault_has_happened(); }

    ScriptedServers servers_;
    ScriptedClient client_;
    std::unique_ptr<Generations> generations_;
    std::unique_ptr<health::TopologyStore> topology_;
    health::Evidence evidence_{health::ServerIds::kMost};
    std::unique_ptr<health::Catalogs> catalogs_;
    std::unique_ptr<Shared> shared_;
    std::unique_ptr<Worker> worker_;
};

struct Script {
    const char* name;
    std::vector<std::string> sends;  // each is answered up to ReadyForQuery
    std::size_t ready = 1;           // so many of them for the last one
};
std::ostream& operator<<(std::ostream& out, const Script& script) { return out << script.name; }

struct Played {
    std::vector<Messages> answers;
    std::array<std::vector<std::string>, 2> statements;
    int messages = 0;
};

Played play(const Script& script, Fault fault) {
    Played played;
    World world{fault};
    auto& client = world.client();
    played.answers.push_back(client.until_ready());
    for (std::size_t i = 0; i < script.sends.size() && !client.has_ended(); ++i) {
        client.send(script.sends[i]);
        const auto due = i + 1 == script.sends.size() ? script.ready : 1;
        for (std::size_t k = 0; k < due && !client.has_ended(); ++k)
            played.answers.push_back(client.until_ready());
    }
    world.expect_nothing_is_left();
    for (const auto which : {ScriptedServers::primary, ScriptedServers::replica})
        played.statements[which] = world.servers().statements(which);
    played.messages = world.servers().sent();
    return played;
}

std::string types(const Messages& messages) {
    std::string text;
    for (const auto& message : messages) text.push_back(message.type);
    return text;
}

// What is the server's or pgsteer's own to choose: keys.
Messages without_key(Messages messages) {
    std::erase_if(messages, [](const auto& message) { return message.type == 'K'; });
    return messages;
}

// The answer, or the beginning of it and then an error, or the end.
bool is_acceptable(const Messages& got, const Messages& expected) {
    const auto wanted = without_key(expected), seen = without_key(got);
    if (seen == wanted) return true;
    const auto same = std::mismatch(seen.begin(), seen.end(), wanted.begin(), wanted.end());
    const std::string rest = types({same.first, seen.end()});
    return rest.empty() || rest == "E" || rest == "EZ";
}

std::ptrdiff_t writes(const Played& played, ScriptedServers::Which which) {
    return std::ranges::count(played.statements[which], kWrite);
}

// Each in a world of its own, some at once: they mostly wait.
std::vector<Played> play_all(const Script& script, const std::vector<Fault>& faults) {
    constexpr std::size_t kAtOnce = 16;
    std::vector<Played> played(faults.size());
    std::atomic<std::size_t> next{0};
    std::vector<std::jthread> players;
    for (std::size_t i = 0; i < kAtOnce; ++i)
        players.emplace_back([&] {
            for (std::size_t n; (n = next++) < faults.size();) played[n] = play(script, faults[n]);
        });
    players.clear();
    return played;
}

void expect_no_harm(const Played& got, const Played& expected) {
    std::string all;
    for (const auto& answer : got.answers) all += types(answer) + ' ';
    SCOPED_TRACE("answers " + all);
    bool is_hit = false;
    for (std::size_t i = 0; i < got.answers.size() && !is_hit; ++i) {
        EXPECT_TRUE(is_acceptable(got.answers[i], expected.answers[i]))
            << types(got.answers[i]) << " instead of " << types(expected.answers[i]);
        // What comes behind an error depends on it.
        is_hit = without_key(got.answers[i]) != without_key(expected.answers[i]);
    }
    EXPECT_LE(writes(got, ScriptedServers::primary), writes(expected, ScriptedServers::primary));
    EXPECT_EQ(writes(got, ScriptedServers::replica), 0);
}

class SessionScript : public testing::TestWithParam<Script> {};

TEST_P(SessionScript, SurvivesEachFaultAtEachMessage) {
    const auto& script = GetParam();
    const auto expected = play(script, {});
    ASSERT_GE(expected.messages, 7) << "a login";
    for (const auto& answer : expected.answers)
        ASSERT_EQ(types(answer).back(), 'Z') << types(answer);
    std::vector<Fault> faults;
    using Kind = Fault::Kind;
    for (const auto kind : {Kind::closed, Kind::half, Kind::error, Kind::silence})
        for (int at = 1; at <= expected.messages; ++at) faults.push_back({kind, at});
    const auto played = play_all(script, faults);
    for (std::size_t i = 0; i < faults.size(); ++i) {
        SCOPED_TRACE(testing::Message()
                     << "fault " << static_cast<int>(faults[i].kind) << " at " << faults[i].at);
        expect_no_harm(played[i], expected);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Scripts,
    SessionScript,
    testing::Values(
        Script{"a_read", {query("SELECT 1")}},
        Script{"reads_and_a_write", {query("SELECT 1"), query(kWrite), query("SELECT 1")}},
        Script{"a_prepared_read", {parse("s", "SELECT 1") + kSync, run("s") + kSync}},
        Script{"a_prepared_read_on_both",
               {parse("s", "SELECT 1") + run("s") + kSync, query("BEGIN"), query(kWrite),
                run("s") + kSync, query("COMMIT")}},
        Script{"a_transaction_that_reads",
               {query("BEGIN READ ONLY"), query("SELECT 1"), query("SELECT 1"), query("COMMIT")}},
        Script{"a_transaction_that_fails",
               {query("BEGIN"), query(kWrite), query("SELECT 1/0"), query("SELECT 1"),
                query("ROLLBACK")}},
        Script{"a_pipeline",
               {parse("", "SELECT 1") + run("") + kSync + run("") + kSync + query("SELECT 1")},
               3},
        Script{"an_error_on_the_replica", {query("SELECT 1/0"), query("SELECT 1")}}),
    [](const auto& script) { return script.param.name; });

// The same servers in another order, and the database by another name.
TEST(Worker, ServesSessionsOfTwoGenerationsSideBySide) {
    World world{Fault{}};
    auto& before = world.client();
    ASSERT_EQ(before.until_ready().back().type, 'Z');
    world.reload([](conf::Config& config) {
        std::swap(config.servers[0], config.servers[1]);
        config.databases[0] = {.name = "shop", .server_name = "app"};
    });
    const auto never = [] { return false; };
    ScriptedClient refused{never};
    world.log_in(refused, "app");
    EXPECT_NE(refused.until_ready().back().type, 'Z') << "no new session calls it so";
    ScriptedClient after{never};
    world.log_in(after, "shop");
    ASSERT_EQ(after.until_ready().back().type, 'Z');
    for (auto* client : {&before, &after}) {
        client->send(query(kWrite));
        EXPECT_EQ(client->until_ready().back().type, 'Z');
        client->send(query("SELECT 1"));
        EXPECT_EQ(client->until_ready().back().type, 'Z');
    }
    EXPECT_EQ(world.servers().statements(ScriptedServers::primary),
              (std::vector<std::string>{kWrite, kWrite}));
    refused.close();
    after.close();
    world.expect_nothing_is_left();
}

}  // namespace
}  // namespace pgsteer::proxy
