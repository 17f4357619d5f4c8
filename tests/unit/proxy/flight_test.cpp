#include "proxy/session/flight.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy {
namespace {

using routing::ServerId;
using testing::ElementsAre;

constexpr ServerId kPrimary{0};
constexpr ServerId kReplica{1};

class FlightTest : public testing::Test {
protected:
    // `name` is kept for another run.
    Request& start(std::string_view name, ServerId server = kReplica) {
        auto& request = flight_.start(server);
        request.again.retryable = true;
        flight_.keep(wire::as_bytes(name));
        return request;
    }
    // A Sync and nothing else.
    void start_bare() { flight_.start(kReplica).bare = true; }

    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& request : flight_)
            names.emplace_back(wire::as_text(wire::Bytes{request.again.messages}));
        return names;
    }

    std::array<std::uint32_t, 2> counts_{};
    Flight flight_{counts_};
};

// Of an idle session.
static_assert(sizeof(Flight) <= 64);

TEST_F(FlightTest, CountsWhatIsUnderWayOnEachServer) {
    start("a");
    start("b");
    EXPECT_THAT(counts_, ElementsAre(0, 2));
    EXPECT_EQ(flight_.kept_bytes(), 2U);
    flight_.finish_front();
    EXPECT_THAT(names(), ElementsAre("b"));
    EXPECT_THAT(counts_, ElementsAre(0, 1));
    flight_.drop_back();
    EXPECT_THAT(counts_, ElementsAre(0, 0));
    EXPECT_EQ(flight_.kept_bytes(), 0U);
    EXPECT_TRUE(flight_.empty());
}

TEST_F(FlightTest, CountsWhatIsLeftByASessionThatEnds) {
    start("a");
    start("b", kPrimary);
    flight_.clear();
    EXPECT_THAT(counts_, ElementsAre(0, 0));
    EXPECT_EQ(flight_.kept_bytes(), 0U);
}

TEST_F(FlightTest, KeepsMoreOfTheNewest) {
    start("a");
    start("b");
    flight_.keep(wire::as_bytes("cd"));
    EXPECT_THAT(names(), ElementsAre("a", "bcd"));
    EXPECT_EQ(flight_.kept_bytes(), 4U);
}

TEST_F(FlightTest, StartsElsewhereWhatWasTaken) {
    start("a");
    start("open").open = true;
    EXPECT_TRUE(flight_.is_open());
    auto taken = flight_.take_back();
    EXPECT_FALSE(flight_.is_open());
    EXPECT_EQ(flight_.kept_bytes(), 1U);
    EXPECT_THAT(counts_, ElementsAre(0, 1));
    const auto& again = flight_.start(std::move(taken), kPrimary);
    EXPECT_EQ(again.server, kPrimary);
    EXPECT_TRUE(again.open);
    EXPECT_THAT(names(), ElementsAre("a", "open"));
    EXPECT_THAT(counts_, ElementsAre(1, 1));
    EXPECT_EQ(flight_.kept_bytes(), 5U);
}

TEST_F(FlightTest, StartsAllAgainInTheirOrder) {
    start("a");
    start("b");
    auto taken = flight_.take_all();
    EXPECT_TRUE(flight_.empty());
    EXPECT_THAT(counts_, ElementsAre(0, 0));
    EXPECT_EQ(flight_.kept_bytes(), 0U);
    for (auto& request : taken) flight_.start(std::move(request), kPrimary);
    EXPECT_THAT(names(), ElementsAre("a", "b"));
    EXPECT_THAT(counts_, ElementsAre(2, 0));
}

TEST_F(FlightTest, IsRetryableAsAWholeOnly) {
    EXPECT_TRUE(flight_.all_retryable());
    start("a");
    EXPECT_TRUE(flight_.all_retryable());
    start("b").again.retryable = false;
    EXPECT_FALSE(flight_.all_retryable());
}

// --- Syncs that a server ignores ---

TEST_F(FlightTest, EndsARequestWithTheOneBehindIt) {
    start("a");
    auto& second = start("b");
    second.does.writes = second.does.may_commit = second.does.raises_floor = second.open = true;
    second.last = {.number = 7};
    flight_.front().does.raises_floor = false;
    flight_.go_on({0});
    ASSERT_THAT(names(), ElementsAre("a"));
    const auto& request = flight_.front();
    EXPECT_TRUE(request.open && request.does.writes && request.does.may_commit &&
                request.does.raises_floor);
    EXPECT_FALSE(request.again.retryable) << "what is kept of it is not all of it";
    EXPECT_EQ(request.last.number, 7U);
    EXPECT_THAT(counts_, ElementsAre(0, 1));
    EXPECT_EQ(flight_.kept_bytes(), 1U);
}

TEST_F(FlightTest, OpensTheNewestAgain) {
    start("a");
    flight_.go_on({0});
    EXPECT_TRUE(flight_.is_open());
    EXPECT_TRUE(flight_.back().again.retryable);
}

TEST_F(FlightTest, ForgetsABareSync) {
    start("a");
    start_bare();
    start("b");
    flight_.go_on({0, 1});
    EXPECT_THAT(names(), ElementsAre("a"));
    EXPECT_FALSE(flight_.is_open()) << "it ends with b";
    start_bare();
    flight_.go_on({1});
    EXPECT_THAT(names(), ElementsAre("a"));
    EXPECT_THAT(counts_, ElementsAre(0, 1));
}

TEST_F(FlightTest, PassesOverEndsOfWhatIsNoLongerThere) {
    start("a");
    flight_.go_on({1, 2});
    flight_.end({3});
    EXPECT_THAT(names(), ElementsAre("a"));
    EXPECT_FALSE(flight_.is_open());
}

TEST_F(FlightTest, EndsWhatWasSkipped) {
    start("a");
    start("b");
    start("c");
    flight_.end({0, 2});
    EXPECT_THAT(names(), ElementsAre("b"));
    EXPECT_THAT(counts_, ElementsAre(0, 1));
}

}  // namespace
}  // namespace pgsteer::proxy
