// What is counted and noted when a request has been answered.
#include "proxy/session/request_end.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Pin;
using routing::Reason;
using routing::TransactionStatus;
using testing::HasSubstr;

class RequestEndTest : public SessionWorld {
protected:
    Request& sent(Slot slot, Reason reason) {
        auto& sent = request(slot);
        sent.reason = reason;
        sent.started = kStarted;
        course_.replies_at = kStarted + 5ms;
        return sent;
    }
    [[nodiscard]] health::ServerCounters& counted(Slot slot) {
        return who_.counters->servers[id(slot).index];
    }
    [[nodiscard]] std::uint64_t pins(Pin pin) {
        return counters().pins[static_cast<std::size_t>(pin)].get();
    }

    static constexpr routing::TimePoint kStarted{1h};
    LastRoute last_route_{lodging_, client_, course_, memory_, sides_};
    RequestEnd request_end_{lodging_, who_, course_, memory_, last_route_};
};

TEST_F(RequestEndTest, CountsARequestOfThePrimaryByItsReason) {
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    const auto& counted = this->counted(Slot::primary);
    EXPECT_EQ(counted.requests[static_cast<std::size_t>(Reason::write)].get(), 1U);
    EXPECT_EQ(counted.replica_requests[static_cast<std::size_t>(Reason::write)].get(), 0U);
}

TEST_F(RequestEndTest, CountsARequestOfAReplicaByItsReason) {
    sent(Slot::replica, Reason::fresh_replica);
    request_end_.finish_front(Slot::replica);
    const auto& counted = this->counted(Slot::replica);
    EXPECT_EQ(counted.replica_requests[static_cast<std::size_t>(Reason::fresh_replica)].get(), 1U);
    EXPECT_EQ(counted.requests[static_cast<std::size_t>(Reason::fresh_replica)].get(), 0U);
}

TEST_F(RequestEndTest, CountsWhatHasFailed) {
    sent(Slot::primary, Reason::write);
    sent(Slot::primary, Reason::write).failed = true;
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(counted(Slot::primary).failed.get(), 0U);
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(counted(Slot::primary).failed.get(), 1U);
}

TEST_F(RequestEndTest, MeasuresFromTheFirstByteToTheLastAnswer) {
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(counted(Slot::primary).latency.sum_us.get(), 5'000U);
}

TEST_F(RequestEndTest, MeasuresNoTimeBelowZero) {
    sent(Slot::primary, Reason::write);
    course_.replies_at = kStarted - 5ms;
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(counted(Slot::primary).latency.sum_us.get(), 0U);
}

TEST_F(RequestEndTest, CountsAPinOnce) {
    connect(Slot::primary);
    completed(Slot::primary, "create temp table t (a int)", TransactionStatus::idle);
    sent(Slot::primary, Reason::write);
    sent(Slot::primary, Reason::pinned);
    request_end_.finish_front(Slot::primary);
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(pins(Pin::temporary_table), 1U);
}

TEST_F(RequestEndTest, CountsAPinAgainThatHadGone) {
    connect(Slot::primary);
    completed(Slot::primary, "create temp table t (a int)", TransactionStatus::idle);
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    completed(Slot::primary, "discard temp", TransactionStatus::idle);
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(pins(Pin::temporary_table), 1U);
    completed(Slot::primary, "create temp table t (a int)", TransactionStatus::idle);
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(pins(Pin::temporary_table), 2U);
}

TEST_F(RequestEndTest, NotesTheRoute) {
    sent(Slot::primary, Reason::write);
    request_end_.finish_front(Slot::primary);
    connect(Slot::primary);
    wire::Buffer out;
    last_route_.add_shown(Slot::primary, out, request(Slot::primary, "show pgsteer.last_route"));
    EXPECT_THAT(std::string{wire::as_text(out)}, HasSubstr("reason=write"));
}

TEST_F(RequestEndTest, TiesATransactionToItsReplica) {
    EXPECT_FALSE(
        memory_.transaction
            .answer(statement("begin read only")->statement, conf::Transactions::read_only, {})
            .empty());
    (void)memory_.transaction.open(Slot::replica);
    ASSERT_FALSE(memory_.transaction.has_to_stay());
    sent(Slot::replica, Reason::read_only_transaction).does.ties = true;
    request_end_.finish_front(Slot::replica);
    EXPECT_TRUE(memory_.transaction.has_to_stay());
}

TEST_F(RequestEndTest, ForgetsACancelOfIt) {
    sent(Slot::primary, Reason::write);
    course_.cancel = Cancel::passed_on;
    request_end_.finish_front(Slot::primary);
    EXPECT_EQ(course_.cancel, Cancel::none);
}

TEST_F(RequestEndTest, LetsTheOldestGo) {
    sent(Slot::primary, Reason::write);
    sent(Slot::primary, Reason::pinned);
    request_end_.finish_front(Slot::primary);
    ASSERT_EQ(course_.requests.size(), 1U);
    EXPECT_EQ(course_.requests.front().reason, Reason::pinned);
    EXPECT_EQ(lodging_.around.in_flight()[0], 1U);
}

}  // namespace
}  // namespace pgsteer::proxy
