// decide() in worlds of which the truth is known: how far each replica really has replayed, and what
// the session and others really have seen. All that decide() is given is true, as far as it goes. It
// may then send a read to no replica that does not show what the read may not miss.
#include "routing/classify.hpp"
#include "routing/decide.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <vector>

namespace pgsteer::routing {
namespace {

using namespace std::chrono_literals;

constexpr int kPast = 40;  // milliseconds of which anything is known; 0 is the oldest
constexpr std::uint32_t kTimeline = 1;
const TimePoint kNow = TimePoint{} + 1h;

TimePoint at(int moment) { return kNow - std::chrono::milliseconds{kPast - 1 - moment}; }

using History = std::array<std::uint64_t, kPast>;  // a position at each moment

class World {
public:
    explicit World(std::uint64_t seed) : random_{seed} {
        make_servers();
        make_session();
    }

    // Nothing may be read from this server that does not show so much.
    [[nodiscard]] std::uint64_t demanded(ServerId id) const {
        std::uint64_t demand = 0;
        const auto need = [&](std::uint64_t position) { demand = std::max(demand, position); };
        if (session.max_staleness) need(wal_[kPast - 1 - session.max_staleness->count()]);
        if (session.min_lsn) need(session.min_lsn->lsn.bytes);
        if (session.consistency == Consistency::eventual) return demand;
        need(wal_[seen_]);
        if (session.floor.last_replica && *session.floor.last_replica != id)
            need(replayed_[session.floor.last_replica->index][replica_seen_]);
        if (session.consistency == Consistency::session) return demand;
        need(wal_[written_]);
        if (session.consistency == Consistency::strict) need(wal_[kPast - 1]);
        return demand;
    }
    // What it shows of the primary's timeline; of another one, nothing.
    [[nodiscard]] std::uint64_t shown(ServerId id) const {
        return topology[id].incarnation.timeline == kTimeline ? replayed_[id.index].back() : 0;
    }
    [[nodiscard]] bool is_token_of_another_timeline() const {
        return session.min_lsn && session.min_lsn->timeline != kTimeline;
    }
    std::uint64_t any(std::uint64_t n) { return random_() % n; }

    Topology topology;
    SessionView session;

private:
    int moment() { return static_cast<int>(any(kPast)); }
    int moment_from(int first) {
        return first + static_cast<int>(any(static_cast<std::uint64_t>(kPast - first)));
    }
    // Grows by fits and starts, never beyond `bound`.
    History grown(const History* bound) {
        History history{};
        std::uint64_t position = 1;
        for (int i = 0; i < kPast; ++i) {
            if (any(3) == 0) position += any(20);
            if (bound != nullptr && (any(4) == 0 || position > (*bound)[i])) position = (*bound)[i];
            history[i] = position;
        }
        return history;
    }

    void make_servers() {
        wal_ = grown(nullptr);
        topology.servers.resize(2 + any(3));
        topology.primary = ServerId{0};
        topology.servers[0].role = Role::primary;
        topology.servers[0].status = Status::healthy;
        topology.servers[0].incarnation = {1, 1, 1, kTimeline};
        replayed_.push_back(wal_);
        learnt_.resize(topology.servers.size());
        for (std::size_t i = 1; i < topology.servers.size(); ++i) {
            auto& server = topology.servers[i];
            const auto& replayed = replayed_.emplace_back(grown(&wal_));
            server.role = any(8) == 0 ? static_cast<Role>(any(3)) : Role::replica;
            server.status = any(4) == 0 ? static_cast<Status>(any(4)) : Status::healthy;
            server.priority = static_cast<int>(any(2));
            server.incarnation = {1 + any(2), 1, 1, any(8) == 0 ? 2 : kTimeline};
            const int probed = moment();
            server.checked_at = any(10) == 0 ? kNow - 1h : at(probed);
            server.position = Lsn{replayed[probed]};
            learnt_[i] = any(2) == 0 ? Lsn{replayed[moment()]} : Lsn{};
            // The latest moment of which it shows everything, or an earlier one.
            int fresh = -1;
            while (fresh + 1 < kPast && wal_[fresh + 1] <= replayed[probed]) ++fresh;
            if (fresh >= 0 && any(3) == 0)
                fresh = static_cast<int>(any(static_cast<std::uint64_t>(fresh) + 1));
            const bool is_known = fresh >= 0 && any(8) != 0;
            if (is_known && server.incarnation.timeline == kTimeline) server.fresh_as_of = at(fresh);
        }
    }

    void make_session() {
        session.consistency = static_cast<Consistency>(any(4));
        session.tolerated_age = 1min;
        session.degraded_reads = any(2) == 0;
        session.learnt = learnt_;
        session.avoid = ServerSet::of_bits(static_cast<std::uint32_t>(any(4) == 0 ? any(16) : 0));
        seen_ = moment();
        session.floor.primary_seen = at(seen_);
        if (any(3) != 0) {
            const auto replica = 1 + any(topology.servers.size() - 1);
            session.floor.last_replica = ServerId{static_cast<std::uint16_t>(replica)};
            replica_seen_ = moment();
            session.floor.replica_seen = at(replica_seen_);
        }
        if (any(2) == 0) sample();
        written_ = moment();
        session.written.at = at(written_);
        session.written.unpositioned = at(written_);
        if (any(2) == 0) {  // behind one write a position was asked for, behind another not
            const int positioned = moment();
            session.written.position = {kTimeline, Lsn{wal_[moment_from(positioned)]}};
            written_ = std::max(written_, positioned);
            session.written.at = at(written_);
        }
        session.arrived = at(kPast - 1);
        if (any(4) == 0) session.max_staleness = std::chrono::milliseconds{any(kPast)};
        if (any(4) == 0)
            session.min_lsn = {{any(8) == 0 ? 2 : kTimeline, Lsn{wal_[moment()]}}};
        session.transaction.waits = any(4) == 0;
        session.transaction.may_start_on_replica = any(2) == 0;
        session.transaction.read_only = any(2) == 0;
        if (any(10) == 0) session.pin = Pin::temporary_table;
    }

    // The primary was asked for its position behind what the session has seen of it.
    void sample() {
        auto& floor = session.floor;
        const int asked = moment_from(seen_);
        floor.primary_position = {kTimeline, Lsn{wal_[asked]}};
        floor.covers_replica = floor.last_replica && asked >= replica_seen_;
        if (!floor.last_replica) return;
        const auto& replica = topology[*floor.last_replica];
        const bool is_true = replica.incarnation.timeline == kTimeline &&
                             replayed_[floor.last_replica->index].back() >= wal_[asked];
        // Or it was another run that has proven it.
        if (is_true || any(2) == 0)
            floor.proven_incarnation = replica.incarnation.number + (is_true ? 0 : 10);
    }

    std::mt19937_64 random_;
    History wal_{};
    std::vector<History> replayed_;  // by server; the primary's is wal_
    std::vector<Lsn> learnt_;
    int seen_ = 0;          // the primary's last answer
    int replica_seen_ = 0;  // the last replica's
    int written_ = 0;       // by anybody
};

Statement a_read(Hint hint) {
    static const auto kRead = classify("SELECT 1");
    auto statement = kRead;
    statement.hint = hint;
    return statement;
}

TEST(DecideTruth, NoReadMissesWhatItMayNotMiss) {
    int on_replicas = 0, asked = 0, on_primary = 0;
    std::array<int, 4> by_level{};
    for (std::uint64_t seed = 1; seed <= 60'000; ++seed) {
        World world{seed};
        const auto& [topology, session] = std::tie(world.topology, world.session);
        const auto hint = world.any(8) == 0 ? Hint::replica : Hint::none;
        const auto route = decide(a_read(hint), session, topology, kNow);
        SCOPED_TRACE(testing::Message() << "seed " << seed << ", " << name(route.reason));
        ASSERT_EQ(route.candidates.empty(), route.reason == Reason::no_primary);
        for (const ServerId id : route.candidates) {
            ASSERT_FALSE(session.avoid.contains(id));
            if (!route.to_replica) {
                ASSERT_EQ(topology.primary, id);
                continue;
            }
            const Server& server = topology[id];
            ASSERT_EQ(server.role, Role::replica);
            ASSERT_TRUE(server.status == Status::healthy ||
                        (server.status == Status::degraded && session.degraded_reads));
            ASSERT_LE(kNow - server.checked_at, session.tolerated_age);
            ASSERT_EQ(session.pin, std::nullopt);
            ASSERT_TRUE(!session.transaction.waits || session.transaction.may_start_on_replica);
            ASSERT_FALSE(world.is_token_of_another_timeline());
            ASSERT_GE(world.shown(id), world.demanded(id));
        }
        if (!route.candidates.empty() && route.to_replica) {
            ++on_replicas;
            ++by_level[static_cast<std::size_t>(session.consistency)];
        }
        on_primary += !route.candidates.empty() && !route.to_replica ? 1 : 0;
        // One that answers that it has got so far is good enough.
        for (const ServerId id : route.unproven) {
            ++asked;
            ASSERT_EQ(topology[id].incarnation.timeline, route.needed.timeline);
            if (world.shown(id) < route.needed.lsn.bytes) continue;
            ASSERT_GE(world.shown(id), world.demanded(id));
        }
    }
    EXPECT_GT(on_replicas, 6'000);
    EXPECT_GT(on_primary, 6'000);
    EXPECT_GT(asked, 1'000);
    for (std::size_t level = 0; level < by_level.size(); ++level)
        EXPECT_GT(by_level[level], 300) << "level " << level;
}

}  // namespace
}  // namespace pgsteer::routing
