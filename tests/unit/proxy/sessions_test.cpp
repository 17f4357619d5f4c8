#include "proxy/shared/sessions.hpp"

#include "proxy/pool/reviewed_settings.hpp"
#include "proxy/shared/client_count.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

const SessionNumbers kNumbers{0x1234'5678'9abc};

// Notes what it is told.
class Told final : public Sessions::Member, public std::enable_shared_from_this<Told> {
public:
    void cancel_requested(std::uint32_t key) override {
        told.push_back("cancel " + std::to_string(key));
    }
    void servers_changed(const routing::Topology&) override { told.emplace_back("servers"); }
    void outdate_replica(routing::ServerId) override { told.emplace_back("server is outdated"); }
    void outdate_replica(const SessionKind&) override { told.emplace_back("kind is outdated"); }
    void check_timeouts(routing::TimePoint) override { told.emplace_back("timeouts"); }
    [[nodiscard]] bool is_reading() const override { return reads; }
    void look_for_client() override {
        told.emplace_back("look");
        if (leaves != nullptr) leaves->remove(*this);
    }
    void drain() override {
        told.emplace_back("drain");
        if (leaves != nullptr) leaves->remove(*other);
    }
    void stop() override { told.emplace_back("stop"); }
    [[nodiscard]] std::uint32_t process_id() const override { return id; }
    std::shared_ptr<Sessions::Member> keep_alive() override { return shared_from_this(); }

    void join(Sessions& sessions) { id = sessions.add(*this); }

    std::uint32_t id = 0;
    bool reads = true;
    Sessions* leaves = nullptr;
    Told* other = nullptr;
    std::vector<std::string> told;
};

class SessionsTest : public testing::Test {
protected:
    std::shared_ptr<Told> joined() {
        auto session = std::make_shared<Told>();
        session->join(sessions_);
        return session;
    }
    Sessions sessions_{3, kNumbers};
};

TEST_F(SessionsTest, GivesEachAProcessIdOfItsOwnThatLeadsToThisWorker) {
    std::vector<std::shared_ptr<Told>> all;
    std::set<std::uint32_t> ids;
    for (int i = 0; i < 100; ++i) {
        all.push_back(joined());
        ids.insert(all.back()->id);
        EXPECT_EQ(kNumbers.owner(all.back()->id).worker, 3U);
        EXPECT_EQ(sessions_.owner({all.back()->id, 0}), 3U);
    }
    EXPECT_EQ(ids.size(), 100U);
    EXPECT_FALSE(ids.contains(0));
    EXPECT_EQ(sessions_.size(), 100U);
}

TEST_F(SessionsTest, TellsTheOneThatACancelIsForAndNobodyElse) {
    const auto first = joined();
    const auto second = joined();
    sessions_.cancel({second->id, 42});
    EXPECT_THAT(first->told, IsEmpty());
    EXPECT_THAT(second->told, ElementsAre("cancel 42"));
    sessions_.cancel({kNumbers.process_id({4, 1}), 42});  // another worker's first session
    sessions_.cancel({kNumbers.process_id({3, 77}), 42});
    EXPECT_THAT(first->told, IsEmpty());
}

TEST_F(SessionsTest, ForgetsThoseThatHaveLeft) {
    const auto first = joined();
    const auto stranger = std::make_shared<Told>();
    stranger->id = first->id;
    sessions_.remove(*stranger);
    EXPECT_EQ(sessions_.size(), 1U) << "it never was one of them";
    sessions_.remove(*first);
    sessions_.cancel({first->id, 42});
    EXPECT_THAT(first->told, IsEmpty());
    EXPECT_EQ(sessions_.size(), 0U);
}

TEST_F(SessionsTest, TellsAllOfThem) {
    const auto first = joined();
    const auto second = joined();
    sessions_.for_each([](Sessions::Member& session) {
        session.servers_changed({});
        session.outdate_replica(routing::ServerId{1});
        session.outdate_replica(SessionKind{});
        session.check_timeouts({});
        session.stop();
    });
    for (const auto& session : {first, second})
        EXPECT_THAT(session->told, ElementsAre("servers", "server is outdated", "kind is outdated",
                                               "timeouts", "stop"));
}

TEST_F(SessionsTest, TellsNothingToOneThatHasLeftWhileOthersWereTold) {
    const auto first = joined();
    const auto second = joined();
    for (const auto& [session, other] : {std::pair{first, second}, std::pair{second, first}}) {
        session->leaves = &sessions_;
        session->other = other.get();
    }
    sessions_.drain();
    EXPECT_TRUE(sessions_.is_draining());
    EXPECT_EQ(first->told.size() + second->told.size(), 1U);
    EXPECT_EQ(sessions_.size(), 1U);
}

TEST_F(SessionsTest, LooksForTheClientsOfThoseThatDoNotRead) {
    const auto reading = joined();
    const auto working = joined();
    const auto leaving = joined();
    working->reads = leaving->reads = false;
    leaving->leaves = &sessions_;
    sessions_.look_for_clients();
    EXPECT_THAT(reading->told, IsEmpty());
    EXPECT_THAT(working->told, ElementsAre("look"));
    EXPECT_EQ(sessions_.size(), 2U);
}

TEST(ClientCount, IsAboveALimitWithOneMore) {
    ClientCount clients;
    clients.came();
    clients.came();
    EXPECT_FALSE(clients.is_above(2));
    EXPECT_TRUE(clients.is_above(1));
    clients.gone();
    EXPECT_EQ(clients.get(), 1);
}

}  // namespace
}  // namespace pgsteer::proxy
