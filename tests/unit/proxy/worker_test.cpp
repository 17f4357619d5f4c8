// Two workers, and what they tell each other and their sessions.
#include "proxy/worker.hpp"

#include "tests/support/other_end.hpp"
#include "tests/support/pool_world.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Told final : public Sessions::Member, public std::enable_shared_from_this<Told> {
public:
    void cancel_requested(std::uint32_t) override { told.emplace_back("cancel"); }
    void servers_changed(const routing::Topology&) override { told.emplace_back("servers"); }
    void outdate_replica(routing::ServerId) override { told.emplace_back("server is outdated"); }
    void outdate_replica(const SessionKind&) override { told.emplace_back("kind is outdated"); }
    void check_timeouts(routing::TimePoint) override {}
    [[nodiscard]] bool is_reading() const override { return true; }
    void look_for_client() override {}
    void drain() override { told.emplace_back("drain"); }
    void stop() override { told.emplace_back("stop"); }
    [[nodiscard]] std::uint32_t process_id() const override { return id; }
    std::shared_ptr<Sessions::Member> keep_alive() override { return shared_from_this(); }

    std::uint32_t id = 0;
    std::vector<std::string> told;
};

class WorkerTest : public testing::Test {
protected:
    WorkerTest() {
        const auto to_worker = [this](std::size_t index, std::function<void(Worker&)> work) {
            workers_.at(index)->post(std::move(work));
        };
        const auto to_others = [this](std::size_t sender, std::function<void(Worker&)> work) {
            workers_.at(1 - sender)->post(std::move(work));
        };
        for (std::uint16_t i = 0; i < 2; ++i)
            workers_.push_back(
                std::make_unique<Worker>(i, generation_, shared_, to_worker, to_others));
        for (std::size_t i = 0; i < 2; ++i) {
            workers_[i]->start();
            on(i, [this, i](Worker& worker) {
                sessions_[i]->id = worker.surroundings().sessions().add(*sessions_[i]);
            });
        }
    }
    ~WorkerTest() override {
        for (auto& worker : workers_) worker->post([](Worker& target) { target.stop(); });
        for (auto& worker : workers_) worker->join();
    }
    // On the worker's thread; returns when it was done.
    void on(std::size_t index, const std::function<void(Worker&)>& work) {
        std::promise<void> done;
        workers_[index]->post([&](Worker& worker) {
            work(worker);
            done.set_value();
        });
        done.get_future().get();
    }
    // What its session was told since it was asked last, and what was posted before.
    std::vector<std::string> told(std::size_t index) {
        std::vector<std::string> told;
        on(index, [&](Worker&) { told = std::exchange(sessions_[index]->told, {}); });
        return told;
    }
    bool is_retired(std::size_t index, const ServerConnection& connection) {
        bool is_retired = false;
        on(index, [&](Worker& worker) { is_retired = worker.pool().is_retired(connection); });
        return is_retired;
    }

    PoolWorld world_;
    GenerationPtr generation_ = world_.generations_.current();
    health::Catalogs catalogs_{generation_->config, generation_->servers, world_.topology_};
    Shared shared_{.facts = {world_.topology_, world_.evidence, catalogs_, {}, SessionNumbers{7}},
                   .workers = 2};
    std::array<std::shared_ptr<Told>, 2> sessions_{std::make_shared<Told>(),
                                                   std::make_shared<Told>()};
    std::vector<std::unique_ptr<Worker>> workers_;
    OtherEnd server_{world_.io};
    ServerConnectionPtr connection_ = PoolWorld::connected(server_);
};

TEST_F(WorkerTest, PassesACancelToTheWorkerThatOwnsTheSession) {
    const wire::CancelRequest request{sessions_[1]->id, 5};
    on(0, [&](Worker& worker) { worker.surroundings().forward_cancel(request); });
    EXPECT_THAT(told(1), ElementsAre("cancel"));
    EXPECT_THAT(told(0), IsEmpty());
}

TEST_F(WorkerTest, TellsItsSessionsWhatHappensToServers) {
    const auto topology = world_.topology_.load();
    on(0, [&](Worker& worker) {
        worker.servers_changed(topology);
        worker.settings_have_changed(PoolWorld::kReplica);
        worker.drain();
    });
    EXPECT_THAT(told(0), ElementsAre("servers", "server is outdated", "drain"));
    EXPECT_THAT(told(1), IsEmpty());
}

TEST_F(WorkerTest, RetiresOnAllWorkersWhatChangedLoginsHaveMadeOutdated) {
    on(1, [](Worker& worker) { worker.surroundings().parameters().remember("key", {{"a", "b"}}); });
    EXPECT_FALSE(is_retired(1, *connection_));
    on(0, [](Worker& worker) { worker.surroundings().logins_change(); });
    EXPECT_TRUE(is_retired(0, *connection_));
    EXPECT_TRUE(is_retired(1, *connection_));
    on(1,
       [](Worker& worker) { EXPECT_EQ(worker.surroundings().parameters().find("key"), nullptr); });
}

TEST_F(WorkerTest, EmptiesADatabaseOnAllWorkers) {
    std::promise<void> emptied;
    on(0, [&](Worker& worker) {
        asio::co_spawn(worker.surroundings().executor(), worker.pool().empty_database("app"),
                       [&](const std::exception_ptr&) { emptied.set_value(); });
    });
    emptied.get_future().get();
}

TEST_F(WorkerTest, LetsGoOfASocketThatItCannotTakeOver) {
    shared_.facts.clients.came();
    on(0, [](Worker& worker) { worker.accept(-1, AF_UNIX); });
    EXPECT_EQ(shared_.facts.clients.get(), 0);
    EXPECT_EQ(workers_[0]->counters().clients_accepted.get(), 0U);
}

TEST_F(WorkerTest, StopsItsSessions) {
    workers_[0]->post([](Worker& worker) { worker.stop(); });
    workers_[0]->join();
    EXPECT_THAT(sessions_[0]->told, ElementsAre("stop"));
    workers_.erase(workers_.begin());
    workers_[0]->post([](Worker& worker) {
        worker.catalogs_have_changed();
        worker.look_at_settings_again();
    });
}

}  // namespace
}  // namespace pgsteer::proxy
