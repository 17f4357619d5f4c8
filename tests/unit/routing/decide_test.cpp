#include "routing/decide.hpp"

#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace pgsteer::routing {
namespace {

using namespace std::chrono_literals;

constexpr ServerId kPrimary{0};
constexpr ServerId kFirst{1};
constexpr ServerId kSecond{2};
const TimePoint kNow = TimePoint{} + 1h;

Server replica(TimePoint fresh_as_of = kNow - 10ms) {
    Server server;
    server.role = Role::replica;
    server.status = Status::healthy;
    server.fresh_as_of = fresh_as_of;
    server.checked_at = kNow - 100ms;
    return server;
}

Topology primary_and(std::vector<Server> replicas) {
    Topology topology;
    Server primary;
    primary.role = Role::primary;
    primary.status = Status::healthy;
    topology.servers.push_back(primary);
    topology.servers.insert(topology.servers.end(), replicas.begin(), replicas.end());
    topology.primary = kPrimary;
    return topology;
}

Topology primary_and_two() { return primary_and({replica(), replica()}); }

Topology without_primary(Topology topology) {
    topology.primary.reset();
    topology.servers[0].role = Role::unknown;
    topology.servers[0].status = Status::unhealthy;
    return topology;
}

// Only what classify() makes: a statement put together by hand may be one that never comes.
Statement a_read() { return classify("SELECT 1"); }
Statement a_read_of_now() { return classify("SELECT now()"); }
Statement a_write() { return classify("INSERT INTO t VALUES (1)"); }
Statement a_savepoint() { return classify("SAVEPOINT a"); }
Statement begin_read_only() { return classify("BEGIN READ ONLY"); }
Statement a_set() { return classify("SET a.b = 1"); }
Statement a_fetch() { return classify("FETCH c"); }

SessionView seen(TimePoint primary_seen) {
    SessionView session;
    session.floor.primary_seen = primary_seen;
    return session;
}

SessionView avoiding(std::initializer_list<ServerId> ids, SessionView session = {}) {
    for (const ServerId id : ids) session.avoid.add(id);
    return session;
}

void expect(const Route& route, const Candidates& candidates, Reason reason) {
    EXPECT_EQ(route.candidates, candidates);
    EXPECT_EQ(name(route.reason), name(reason));
    if (!candidates.empty()) {
        EXPECT_EQ(route.to_replica, candidates.front() != kPrimary);
    }
}

// --- reads ---

TEST(Decide, SpreadsReadsOverFreshReplicas) {
    expect(decide(a_read(), {}, primary_and_two(), kNow), {kFirst, kSecond}, Reason::fresh_replica);
}

TEST(Decide, SendsWritesToThePrimaryForTheirOwnReason) {
    const std::pair<std::string, Reason> rows[] = {
        {"INSERT INTO t VALUES (1)", Reason::write},
        {"SELECT nobody_knows(1)", Reason::unknown_function},
        {"SELECT 1; SET a = 1", Reason::multi_statement},
        {"SELECT broken from", Reason::syntax_error},
        {"SELECT * FROM pg_temp.t", Reason::temporary_object},
    };
    for (const auto& [sql, reason] : rows) {
        SCOPED_TRACE(sql);
        expect(decide(classify(sql), {}, primary_and_two(), kNow), {kPrimary}, reason);
    }
}

TEST(Decide, OpensReadOnlyTransactionsOnAReplica) {
    expect(decide(begin_read_only(), {}, primary_and_two(), kNow), {kFirst, kSecond},
           Reason::read_only_transaction);
}

TEST(Decide, KeepsReadsOnThePrimaryUntilAReplicaShowsWhatTheSessionHasSeen) {
    const auto topology = primary_and({replica(kNow - 10ms)});
    expect(decide(a_read(), seen(kNow - 9ms), topology, kNow), {kPrimary}, Reason::replica_behind);
    expect(decide(a_read(), seen(kNow - 10ms), topology, kNow), {kFirst}, Reason::fresh_replica);
}

TEST(Decide, UsesOnlyTheReplicasThatHavePassedTheFloor) {
    const auto topology = primary_and({replica(kNow - 50ms), replica(kNow - 1ms)});
    expect(decide(a_read(), seen(kNow - 20ms), topology, kNow), {kSecond}, Reason::fresh_replica);
}

TEST(Decide, EventualReadsIgnoreTheFloor) {
    auto session = seen(kNow);
    session.consistency = Consistency::eventual;
    session.floor.replica_seen = kNow;
    session.floor.last_replica = kSecond;
    const auto topology = primary_and({replica(kNow - 50ms), replica(kNow - 90ms)});
    expect(decide(a_read(), session, topology, kNow), {kSecond}, Reason::fresh_replica);
}

TEST(Decide, StaysOnTheSessionsReplicaWhileItServes) {
    auto session = seen(kNow - 100ms);
    session.floor.last_replica = kFirst;
    session.floor.replica_seen = kNow - 1ms;  // its own answers are no news to it
    auto topology = primary_and({replica(kNow - 20ms), replica(kNow)});
    expect(decide(a_read(), session, topology, kNow), {kFirst}, Reason::fresh_replica);
    expect(decide(a_read(), avoiding({kFirst}, session), topology, kNow), {kSecond},
           Reason::fresh_replica);
}

TEST(Decide, LeavesTheSessionsReplicaOnlyForOneThatIsNotOlder) {
    auto session = seen(kNow - 100ms);
    session.floor.last_replica = kFirst;
    session.floor.replica_seen = kNow - 5ms;
    auto topology = primary_and({replica(kNow), replica(kNow - 6ms)});
    topology.servers[1].status = Status::unhealthy;
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    topology.servers[2].fresh_as_of = kNow - 5ms;
    expect(decide(a_read(), session, topology, kNow), {kSecond}, Reason::fresh_replica);
}

TEST(Decide, PrefersTheLowestPriorityNumberEvenOverTheSessionsReplica) {
    auto topology = primary_and({replica(), replica(), replica()});
    topology.servers[1].priority = 2;
    topology.servers[2].priority = 1;
    topology.servers[3].priority = 1;
    SessionView session;
    session.floor.last_replica = kFirst;
    expect(decide(a_read(), session, topology, kNow), {kSecond, ServerId{3}},
           Reason::fresh_replica);
    expect(decide(a_read(), avoiding({kSecond, ServerId{3}}), topology, kNow), {kFirst},
           Reason::fresh_replica);
    topology.servers[2].priority = 5;
    topology.servers[3].priority = -1;
    expect(decide(a_read(), session, topology, kNow), {ServerId{3}}, Reason::fresh_replica);
}

TEST(Decide, PassesOverAReplicaOfTheBestPriorityThatIsBehind) {
    auto topology = primary_and({replica(kNow - 1s), replica()});
    topology.servers[2].priority = 1;
    expect(decide(a_read(), seen(kNow - 20ms), topology, kNow), {kSecond}, Reason::fresh_replica);
}

struct Unfit {
    const char* why;
    void (*spoil)(Server&);
};
class DecideUnfit : public testing::TestWithParam<Unfit> {};

TEST_P(DecideUnfit, ReplicaServesNoRead) {
    auto topology = primary_and({replica()});
    GetParam().spoil(topology.servers[1]);
    for (const auto consistency : {Consistency::session, Consistency::eventual}) {
        SessionView session;
        session.consistency = consistency;
        expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::no_replica);
        expect(decide(begin_read_only(), session, topology, kNow), {kPrimary}, Reason::no_replica);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Servers,
    DecideUnfit,
    testing::Values(Unfit{"unhealthy", [](Server& s) { s.status = Status::unhealthy; }},
                    Unfit{"status_unknown", [](Server& s) { s.status = Status::unknown; }},
                    Unfit{"role_unknown", [](Server& s) { s.role = Role::unknown; }},
                    Unfit{"a_second_primary", [](Server& s) { s.role = Role::primary; }},
                    Unfit{"no_evidence", [](Server& s) { s.fresh_as_of = kNever; }},
                    Unfit{"never_checked", [](Server& s) { s.checked_at = kNever; }},
                    Unfit{"old_evidence", [](Server& s) { s.checked_at = kNow - 3'001ms; }},
                    Unfit{"degraded_without_evidence",
                          [](Server& s) {
                              s.status = Status::degraded;
                              s.fresh_as_of = kNever;
                          }}),
    [](const auto& param) { return param.param.why; });

TEST(Decide, TakesEvidenceOfExactlyTheToleratedAge) {
    auto topology = primary_and({replica()});
    topology.servers[1].checked_at = kNow - 3s;
    expect(decide(a_read(), {}, topology, kNow), {kFirst}, Reason::fresh_replica);
}

TEST(Decide, AvoidsServersThatFailedThisRequest) {
    expect(decide(a_read(), avoiding({kFirst}), primary_and_two(), kNow), {kSecond},
           Reason::fresh_replica);
    expect(decide(a_read(), avoiding({kFirst, kSecond}), primary_and_two(), kNow), {kPrimary},
           Reason::no_replica);
    expect(decide(a_read(), avoiding({kPrimary, kFirst, kSecond}), primary_and_two(), kNow), {},
           Reason::no_primary);
    expect(decide(a_write(), avoiding({kPrimary}), primary_and_two(), kNow), {},
           Reason::no_primary);
}

TEST(Decide, NeverTakesThePrimaryForAReplica) {
    auto topology = primary_and_two();
    topology.primary = kFirst;  // contradicts its role
    const auto route = decide(a_read(), {}, topology, kNow);
    EXPECT_EQ(route.candidates, Candidates{kSecond});
}

TEST(Decide, CopesWithAsManyServersAsThereMayBe) {
    auto topology = primary_and(std::vector<Server>(31, replica()));
    EXPECT_EQ(decide(a_read(), {}, topology, kNow).candidates.size(), 31U);
    SessionView session;
    session.avoid = ServerSet::of_bits(0x7FFF'FFFF);
    EXPECT_EQ(decide(a_read(), session, topology, kNow).candidates, Candidates{ServerId{31}});
}

// --- degraded ---

Topology with_degraded(TimePoint fresh_as_of) {
    auto topology = primary_and({replica(fresh_as_of)});
    topology.servers[1].status = Status::degraded;
    return topology;
}

TEST(Decide, UsesDegradedReplicasBeforeThePrimary) {
    expect(decide(a_read(), {}, with_degraded(kNow - 40s), kNow), {kFirst},
           Reason::degraded_replica);
    expect(decide(begin_read_only(), {}, with_degraded(kNow - 40s), kNow), {kFirst},
           Reason::degraded_replica);
}

TEST(Decide, UsesHealthyReplicasBeforeDegradedOnesOfBetterPriority) {
    auto topology = primary_and_two();
    topology.servers[1].status = Status::degraded;
    topology.servers[2].priority = 9;
    SessionView session;
    session.floor.last_replica = kFirst;
    expect(decide(a_read(), session, topology, kNow), {kSecond}, Reason::fresh_replica);
}

TEST(Decide, UsesADegradedReplicaThatIsFreshWhereTheHealthyOneIsBehind) {
    auto topology = primary_and({replica(kNow - 1s), replica(kNow)});
    topology.servers[2].status = Status::degraded;  // slow, not old
    expect(decide(a_read(), seen(kNow - 5ms), topology, kNow), {kSecond}, Reason::degraded_replica);
}

TEST(Decide, SaysLaggingWhereDegradedReplicasAreNotAllowed) {
    SessionView session;
    session.degraded_reads = false;
    expect(decide(a_read(), session, with_degraded(kNow), kNow), {kPrimary},
           Reason::replica_lagging);
    session.floor.primary_seen = kNow;
    expect(decide(a_read(), session, with_degraded(kNow - 40s), kNow), {kPrimary},
           Reason::replica_lagging);
}

TEST(Decide, SaysBehindWhereADegradedReplicaFailedOnlyTheFloor) {
    expect(decide(a_read(), seen(kNow), with_degraded(kNow - 40s), kNow), {kPrimary},
           Reason::replica_behind);
}

TEST(Decide, SaysBehindRatherThanLaggingIfBothAreTrue) {
    auto topology = primary_and({replica(kNow - 1s), replica(kNow)});
    topology.servers[2].status = Status::degraded;
    auto session = seen(kNow - 5ms);
    session.degraded_reads = false;
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
}

// --- no primary ---

TEST(Decide, ReadsGoOnWithoutAPrimary) {
    expect(decide(a_read(), seen(kNow - 1s), without_primary(primary_and_two()), kNow),
           {kFirst, kSecond}, Reason::fresh_replica);
}

TEST(Decide, ServesNothingStaleOnlyBecauseThereIsNoPrimary) {
    expect(decide(a_read(), seen(kNow), without_primary(primary_and_two()), kNow), {},
           Reason::no_primary);
    expect(decide(a_write(), {}, without_primary(primary_and_two()), kNow), {}, Reason::no_primary);
}

// --- levels, bounds, positions ---

SessionView at_level(Consistency level, SessionView session = {}) {
    session.consistency = level;
    return session;
}

TEST(Decide, ReadOnlyTransactionsStayOnThePrimaryIfToldSo) {
    SessionView session;
    session.transaction.may_start_on_replica = false;
    expect(decide(begin_read_only(), session, primary_and_two(), kNow), {kPrimary},
           Reason::transaction_control);
    EXPECT_TRUE(decide(a_read(), session, primary_and_two(), kNow).to_replica);
}

// --- transactions that may move ---

SessionView waiting(bool read_only, bool may_start_on_replica = true) {
    SessionView session;
    session.transaction = {
        .waits = true, .may_start_on_replica = may_start_on_replica, .read_only = read_only};
    return session;
}

SessionView with_portal(SessionView session) {
    session.transaction.tied_by_request = true;
    return session;
}
SessionView pinned(SessionView session = {}) {
    session.pin = Pin::temporary_table;
    return session;
}

struct FirstStatement {
    const char* name;
    Statement (*statement)();
    SessionView session;
    Candidates candidates;
    Reason reason;
};
void PrintTo(const FirstStatement& row, std::ostream* out) { *out << row.name; }

class DecideFirstStatement : public testing::TestWithParam<FirstStatement> {};

TEST_P(DecideFirstStatement, SaysWhereATransactionIsOpened) {
    const auto& row = GetParam();
    expect(decide(row.statement(), row.session, primary_and_two(), kNow), row.candidates,
           row.reason);
}

const Candidates kReplicas{kFirst, kSecond};
const FirstStatement kFirstStatements[] = {
    {"read", a_read, waiting(false), kReplicas, Reason::lazy_transaction},
    {"savepoint", a_savepoint, waiting(false), kReplicas, Reason::lazy_transaction},
    {"write", a_write, waiting(false), {kPrimary}, Reason::write},
    {"read_of_now", a_read_of_now, waiting(false), {kPrimary}, Reason::transaction_time},
    {"portal_that_goes_on",
     a_read,
     with_portal(waiting(false)),
     {kPrimary},
     Reason::transaction_time},
    {"read_that_may_not_start_there",
     a_read,
     waiting(false, false),
     {kPrimary},
     Reason::in_transaction},
    {"read_in_read_only", a_read, waiting(true), kReplicas, Reason::read_only_transaction},
    {"read_of_now_in_read_only", a_read_of_now, waiting(true), kReplicas,
     Reason::read_only_transaction},
    {"portal_that_goes_on_in_read_only", a_read, with_portal(waiting(true)), kReplicas,
     Reason::read_only_transaction},
    {"write_in_read_only", a_write, waiting(true), {kPrimary}, Reason::write},
    {"read_of_a_pinned_session", a_read, pinned(waiting(true)), {kPrimary}, Reason::pinned},
    {"read_not_known_to_be_harmless",
     [] { return classify("SELECT nobody_knows(1)"); },
     waiting(true),
     {kPrimary},
     Reason::unknown_function},
};
INSTANTIATE_TEST_SUITE_P(Statements,
                         DecideFirstStatement,
                         testing::ValuesIn(kFirstStatements),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(Decide, BeginAmongOtherMessagesStartsOnAReplicaIfItMay) {
    const auto begin = classify("BEGIN");
    SessionView session;
    expect(decide(begin, session, primary_and_two(), kNow), {kFirst, kSecond},
           Reason::lazy_transaction);
    session.transaction.tied_by_request = true;
    expect(decide(begin, session, primary_and_two(), kNow), {kPrimary},
           Reason::transaction_control);
    session.transaction = {.may_start_on_replica = false};
    expect(decide(begin, session, primary_and_two(), kNow), {kPrimary},
           Reason::transaction_control);
}

SessionView open_on(ServerId id) {
    SessionView session;
    session.transaction_on = id;
    session.transaction.may_move = true;
    return session;
}

TEST(Decide, AnOpenTransactionStaysOnItsReplicaForWhatCanBeRepeated) {
    for (const auto& statement : {a_read(), a_savepoint(), a_set(), classify("COMMIT")})
        expect(decide(statement, open_on(kSecond), primary_and_two(), kNow), {kSecond},
               Reason::in_transaction);
}

TEST(Decide, AnOpenTransactionLeavesItsReplicaForWhatNeedsThePrimary) {
    const auto topology = primary_and_two();
    expect(decide(a_write(), open_on(kSecond), topology, kNow), {kPrimary}, Reason::write);
    expect(decide(a_write(), open_on(kSecond), without_primary(topology), kNow), {},
           Reason::no_primary);
}

TEST(Decide, AnOpenTransactionLeavesItsReplicaForWhatTiesItUnlessItIsReadOnly) {
    const auto topology = primary_and_two();
    auto session = open_on(kSecond);
    expect(decide(a_read_of_now(), session, topology, kNow), {kPrimary}, Reason::transaction_time);
    session.transaction.read_only = true;
    expect(decide(a_read_of_now(), session, topology, kNow), {kSecond}, Reason::in_transaction);
}

TEST(Decide, AnOpenTransactionThatCannotMoveStaysForAWriteToo) {
    auto session = open_on(kSecond);
    session.transaction.may_move = false;
    expect(decide(a_write(), session, primary_and_two(), kNow), {kSecond}, Reason::in_transaction);
}

TEST(Decide, AnOpenTransactionLeavesAReplicaThatMissesSomething) {
    auto session = open_on(kFirst);
    session.floor.raise(kNow - 5ms);
    const auto topology = primary_and({replica(kNow - 10ms), replica(kNow)});
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    expect(decide(a_read(), session, without_primary(topology), kNow), {kFirst},
           Reason::in_transaction);
    session.transaction.may_move = false;
    expect(decide(a_read(), session, topology, kNow), {kFirst}, Reason::in_transaction);
}

TEST(Decide, ATransactionThatIsTooLongToBeRepeatedMovesInTime) {
    auto session = open_on(kFirst);
    session.transaction.must_move = true;
    expect(decide(a_read(), session, primary_and_two(), kNow), {kPrimary}, Reason::in_transaction);
}

TEST(Decide, AReadThatIsNotKnownToBeHarmlessDoesNotFollow) {
    expect(decide(classify("SELECT nobody_knows(1)"), open_on(kFirst), primary_and_two(), kNow),
           {kPrimary}, Reason::unknown_function);
}

TEST(Decide, TheLeastStaleReplicaServesEventualReadsAlone) {
    auto far = replica(kNow - 20s);
    far.status = Status::degraded;
    auto near = replica(kNow - 10s);
    near.status = Status::degraded;
    auto gone = replica(kNow);
    gone.status = Status::unhealthy;
    const auto topology = primary_and({far, near, gone});
    SessionView session;
    EXPECT_TRUE(least_stale(session, topology, kNow).candidates.empty()) << "level session";
    session.consistency = Consistency::eventual;
    expect(least_stale(session, topology, kNow), {kSecond}, Reason::stale_replica);
    session.avoid = {kSecond};
    expect(least_stale(session, topology, kNow), {kFirst}, Reason::stale_replica);
    session.max_staleness = 15s;
    EXPECT_TRUE(least_stale(session, topology, kNow).candidates.empty());
    session.max_staleness.reset();
    session.pin = Pin::temporary_table;
    EXPECT_TRUE(least_stale(session, topology, kNow).candidates.empty());
}

TEST(Decide, DeallocateGoesWherePrepareWent) {
    SessionView session;
    session.last_used = kFirst;
    for (const auto* sql : {"DEALLOCATE p", "DEALLOCATE ALL"}) {
        const auto statement = classify(sql);
        session.prepared_in_sql = false;
        expect(decide(statement, session, primary_and_two(), kNow), {kFirst},
               Reason::session_control);
        session.prepared_in_sql = true;
        expect(decide(statement, session, primary_and_two(), kNow), {kPrimary},
               Reason::session_control);
    }
}

TEST(Decide, GlobalReadsShowWhatAnySessionHasWritten) {
    auto session = at_level(Consistency::global, seen(kNow - 100ms));
    session.written.at = kNow - 9ms;
    const auto topology = primary_and_two();
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    session.written.at = kNow - 10ms;
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).to_replica);
    session.consistency = Consistency::session;
    session.written.at = kNow;
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).to_replica);
}

// Others have written just now; behind the last of these writes the primary was at 500.
SessionView behind_writes_of_others() {
    auto session = at_level(Consistency::global, seen(kNow - 100ms));
    session.written = {kNow, kNow - 20ms, {1, Lsn{500}}};
    return session;
}
Topology replayed(Lsn first, Lsn second) {
    auto topology = primary_and_two();
    for (auto& server : topology.servers) server.incarnation.timeline = 1;
    topology.servers[kFirst.index].position = first;
    topology.servers[kSecond.index].position = second;
    return topology;
}

TEST(Decide, GlobalReadsAreProvenByThePositionBehindAllWrites) {
    expect(decide(a_read(), behind_writes_of_others(), replayed({500}, {499}), kNow), {kFirst},
           Reason::fresh_replica);
}

TEST(Decide, ReplicasThatMayHaveReplayedAllWritesAreNamed) {
    const auto route = decide(a_read(), behind_writes_of_others(), replayed({499}, {499}), kNow);
    expect(route, {kPrimary}, Reason::replica_behind);
    EXPECT_EQ(route.unproven, (Candidates{kFirst, kSecond}));
    EXPECT_EQ(route.needed, (WalPosition{1, {500}}));
}

TEST(Decide, OfAllWritesAndTheOwnFloorTheLaterPositionIsNeeded) {
    auto session = behind_writes_of_others();
    session.floor = seen(kNow).floor;
    session.floor.primary_position = {1, Lsn{600}};
    const auto topology = replayed({499}, {499});
    EXPECT_EQ(decide(a_read(), session, topology, kNow).needed, (WalPosition{1, {600}}));
    session.floor.primary_position = {1, Lsn{400}};
    EXPECT_EQ(decide(a_read(), session, topology, kNow).needed, (WalPosition{1, {500}}));
    session.floor.primary_position = {2, Lsn{600}};  // of another timeline: no proof
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).unproven.empty());
}

TEST(Decide, OfAWriteWithoutAPositionOnlyTimeTells) {
    auto session = behind_writes_of_others();
    session.written.unpositioned = kNow;
    EXPECT_TRUE(decide(a_read(), session, replayed({499}, {499}), kNow).unproven.empty());
    expect(decide(a_read(), session, replayed({500}, {499}), kNow), {kPrimary},
           Reason::replica_behind);
    session.written = {kNow, kNow - 20ms, {}};
    EXPECT_TRUE(decide(a_read(), session, replayed({500}, {499}), kNow).unproven.empty());
}

TEST(Decide, StrictReadsShowAllThatWasThereWhenTheyArrived) {
    auto session = at_level(Consistency::strict);
    session.arrived = kNow - 9ms;
    const auto topology = primary_and_two();
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    session.arrived = kNow - 10ms;
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).to_replica);
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).unproven.empty());
}

TEST(Decide, MaxStalenessHoldsAtEveryLevel) {
    auto session = at_level(Consistency::eventual);
    session.max_staleness = 9ms;
    const auto topology = primary_and_two();
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    session.max_staleness = 10ms;
    EXPECT_TRUE(decide(a_read(), session, topology, kNow).to_replica);
}

Topology at_positions(Lsn first, Lsn second, TimePoint fresh_as_of) {
    auto topology = primary_and({replica(fresh_as_of), replica(fresh_as_of)});
    topology.servers[1].position = first;
    topology.servers[2].position = second;
    for (auto& server : topology.servers) {
        server.incarnation.timeline = 3;
        server.incarnation.number = 5;
    }
    return topology;
}

SessionView seen_at(WalPosition position) {
    auto session = seen(kNow);
    session.floor.primary_position = position;
    return session;
}

TEST(Decide, APositionThatWasReplayedIsProofEnough) {
    const auto topology = at_positions({100}, {99}, kNow - 1s);
    expect(decide(a_read(), seen_at({3, {100}}), topology, kNow), {kFirst}, Reason::fresh_replica);
    expect(decide(a_read(), seen_at({2, {100}}), topology, kNow), {kPrimary},
           Reason::replica_behind);
    expect(decide(a_read(), seen(kNow), topology, kNow), {kPrimary}, Reason::replica_behind);
}

TEST(Decide, WhatAServerHasToldSinceCounts) {
    const auto topology = at_positions({90}, {90}, kNow - 1s);
    auto session = seen_at({3, {100}});
    const std::vector<Lsn> learnt{{0}, {0}, {100}};
    session.learnt = learnt;
    expect(decide(a_read(), session, topology, kNow), {kSecond}, Reason::fresh_replica);
}

TEST(Decide, ReplicasThatMayHaveCaughtUpAreNamed) {
    const auto topology = at_positions({90}, {90}, kNow - 1s);
    const auto route = decide(a_read(), seen_at({3, {100}}), topology, kNow);
    expect(route, {kPrimary}, Reason::replica_behind);
    EXPECT_EQ(route.unproven, (Candidates{kFirst, kSecond}));
    EXPECT_EQ(route.needed, (WalPosition{3, {100}}));
    EXPECT_TRUE(decide(a_read(), seen(kNow), topology, kNow).unproven.empty());
    EXPECT_TRUE(decide(a_read(), seen_at({2, {100}}), topology, kNow).unproven.empty());
    auto global = at_level(Consistency::global, seen_at({3, {100}}));
    EXPECT_EQ(decide(a_read(), global, topology, kNow).unproven, (Candidates{kFirst, kSecond}));
    global.written = {kNow, kNow, {}};
    EXPECT_TRUE(decide(a_read(), global, topology, kNow).unproven.empty());
    auto strict = at_level(Consistency::strict, seen_at({3, {100}}));
    strict.arrived = kNow;
    EXPECT_TRUE(decide(a_read(), strict, topology, kNow).unproven.empty());
}

TEST(Decide, AnotherReplicaMayBeAskedIfItIsKnownToShowWhatTheOwnOneShowed) {
    const auto topology = at_positions({90}, {90}, kNow - 1s);
    auto session = seen_at({3, {100}});
    session.floor.last_replica = kSecond;
    session.floor.replica_seen = kNow - 2s;
    EXPECT_EQ(decide(a_read(), session, topology, kNow).unproven, (Candidates{kFirst, kSecond}));
    session.floor.replica_seen = kNow - 100ms;
    EXPECT_EQ(decide(a_read(), session, topology, kNow).unproven, (Candidates{kSecond}));
    EXPECT_TRUE(decide(a_read(), avoiding({kSecond}, session), topology, kNow).unproven.empty());
}

TEST(Decide, APositionAskedForBehindAReadOnAReplicaCoversItForTheOther) {
    auto topology = at_positions({90}, {90}, kNow - 1s);
    auto session = seen_at({3, {100}});
    session.floor.last_replica = kSecond;
    session.floor.replica_seen = kNow - 100ms;
    session.floor.covers_replica = true;
    auto route = decide(a_read(), session, topology, kNow);
    EXPECT_EQ(route.unproven, (Candidates{kFirst, kSecond}));
    EXPECT_EQ(route.needed, (WalPosition{3, {100}}));
    topology.servers[kFirst.index].position = Lsn{100};
    expect(decide(a_read(), session, topology, kNow), {kFirst}, Reason::fresh_replica);
    // Time proves the primary's part, and still not what the other replica showed.
    topology = at_positions({90}, {90}, kNow - 1s);
    session.floor.primary_seen = kNow - 1s;
    session.floor.last_replica = kSecond;
    route = decide(a_read(), avoiding({kSecond}, session), topology, kNow);
    EXPECT_EQ(route.unproven, (Candidates{kFirst}));
    EXPECT_EQ(route.needed, (WalPosition{3, {100}}));
    session.floor.covers_replica = false;
    EXPECT_TRUE(decide(a_read(), avoiding({kSecond}, session), topology, kNow).unproven.empty());
}

TEST(Decide, WhatAReplicaHasProvenHoldsForItsRun) {
    auto topology = at_positions({90}, {90}, kNow - 1s);
    auto session = seen_at({3, {100}});
    session.floor.last_replica = kFirst;
    session.floor.proven_incarnation = 5;
    expect(decide(a_read(), session, topology, kNow), {kFirst}, Reason::fresh_replica);
    topology.servers[1].incarnation.number = 6;
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    session.floor.raise(kNow);
    EXPECT_EQ(session.floor.proven_incarnation, 0U);
    EXPECT_EQ(session.floor.primary_position.timeline, 0U);
}

TEST(Decide, ATokenNeedsItsTimelineAndItsPosition) {
    const auto topology = at_positions({100}, {90}, kNow - 10ms);
    auto session = at_level(Consistency::eventual);
    session.min_lsn = WalPosition{3, {100}};
    expect(decide(a_read(), session, topology, kNow), {kFirst}, Reason::fresh_replica);
    session.min_lsn = WalPosition{3, {101}};
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
    session.min_lsn = WalPosition{4, {1}};
    expect(decide(a_read(), session, topology, kNow), {kPrimary}, Reason::replica_behind);
}

TEST(ToPrimary, KeepsTheCallersReason) {
    expect(to_primary(primary_and_two(), Reason::failed_on_replica), {kPrimary},
           Reason::failed_on_replica);
    expect(to_primary(without_primary(primary_and_two()), Reason::write), {}, Reason::no_primary);
}

// --- what comes before ---

TEST(Decide, StaysWhereTheTransactionIsWhateverHappens) {
    auto topology = primary_and_two();
    topology.servers[1].status = Status::unhealthy;
    auto session = avoiding({kPrimary, kFirst});
    session.pin = Pin::temporary_table;
    session.cursor_on = kPrimary;
    session.last_used = kPrimary;
    const auto hinted = classify("/* pgsteer: primary */ SELECT 1");
    for (const ServerId id : {kPrimary, kFirst}) {
        session.transaction_on = id;
        for (const auto& s : {a_read(), a_write(), a_set(), begin_read_only(), hinted, a_fetch()})
            expect(decide(s, session, topology, kNow), {id}, Reason::in_transaction);
        expect(decide(a_write(), session, without_primary(topology), kNow), {id},
               Reason::in_transaction);
    }
}

TEST(Decide, HintPrimaryHoldsForReadsAndSettings) {
    SessionView session;
    session.last_used = kFirst;
    session.cursor_on = kFirst;
    for (const std::string sql :
         {"SELECT 1", "SET a.b = 1", "BEGIN READ ONLY", "FETCH c", "CLOSE c"}) {
        SCOPED_TRACE(sql);
        expect(decide(classify("/* pgsteer: primary */ " + sql), session, primary_and_two(), kNow),
               {kPrimary}, Reason::hint_primary);
    }
}

TEST(Decide, RunsCursorStatementsWhereTheCursorIs) {
    const auto fetch = a_fetch(), close = classify("CLOSE c");
    SessionView session;
    session.cursor_on = kSecond;
    session.last_used = kPrimary;
    session.pin = Pin::opaque_settings;
    expect(decide(fetch, session, primary_and_two(), kNow), {kSecond}, Reason::cursor);
    expect(decide(close, session, primary_and_two(), kNow), {kSecond}, Reason::cursor);
    session.cursor_on.reset();
    expect(decide(fetch, session, primary_and_two(), kNow), {kPrimary}, Reason::cursor);
}

TEST(Decide, AnOpenTransactionLeavesItsReplicaForACursorThatOutlivedAnother) {
    const auto fetch = a_fetch();
    auto session = open_on(kSecond);
    session.transaction.read_only = true;
    session.cursor_on = kSecond;
    expect(decide(fetch, session, primary_and_two(), kNow), {kSecond}, Reason::in_transaction);
    session.cursor_on = kPrimary;
    expect(decide(fetch, session, primary_and_two(), kNow), {kPrimary}, Reason::cursor);
    session.transaction.may_move = false;
    expect(decide(fetch, session, primary_and_two(), kNow), {kSecond}, Reason::in_transaction);
}

// --- session control ---

TEST(Decide, RunsSessionControlWhereTheSessionWasLast) {
    SessionView session;
    session.pin = Pin::settings_failed;
    for (const ServerId id : {kPrimary, kFirst, kSecond}) {
        session.last_used = id;
        expect(decide(a_set(), session, primary_and_two(), kNow), {id}, Reason::session_control);
    }
}

TEST(Decide, RunsSessionControlOnThePrimaryIfThatServerIsNotUsable) {
    auto topology = primary_and_two();
    topology.servers[1].status = Status::unhealthy;
    topology.servers[2].role = Role::unknown;
    SessionView session;
    expect(decide(a_set(), session, topology, kNow), {kPrimary}, Reason::session_control);
    session.last_used = kFirst;
    expect(decide(a_set(), session, topology, kNow), {kPrimary}, Reason::session_control);
    session.last_used = kSecond;
    expect(decide(a_set(), session, topology, kNow), {kPrimary}, Reason::session_control);
    expect(decide(a_set(), avoiding({kSecond}, session), primary_and_two(), kNow), {kPrimary},
           Reason::session_control);
    session.last_used = ServerId{7};  // no such server any more
    expect(decide(a_set(), session, topology, kNow), {kPrimary}, Reason::session_control);
}

TEST(Decide, RunsSessionControlOnAnyReplicaWhileThereIsNoPrimary) {
    auto topology = without_primary(primary_and_two());
    topology.servers[1].fresh_as_of = kNever;  // SET needs no freshness
    SessionView session;
    session.last_used = kPrimary;
    expect(decide(a_set(), session, topology, kNow), {kFirst, kSecond}, Reason::session_control);
    expect(decide(a_set(), avoiding({kFirst}), topology, kNow), {kSecond}, Reason::session_control);
    expect(decide(a_set(), avoiding({kFirst, kSecond}), topology, kNow), {}, Reason::no_primary);
}

TEST(Decide, RunsOnThePrimaryWhatOnlyItsConnectionHas) {
    SessionView session;
    session.last_used = kFirst;
    for (const auto* sql : {"UNLISTEN c", "UNLISTEN *", "SET default_transaction_read_only = on",
                            "RESET default_transaction_isolation", "DISCARD ALL", "DISCARD TEMP"}) {
        SCOPED_TRACE(sql);
        const auto s = classify(sql);
        expect(decide(s, session, primary_and_two(), kNow), {kPrimary}, Reason::session_control);
        expect(decide(s, session, without_primary(primary_and_two()), kNow), {},
               Reason::no_primary);
    }
}

// --- pins and hints ---

TEST(Decide, KeepsReadsOfAPinnedSessionOnThePrimary) {
    const auto session = pinned();
    expect(decide(a_read(), session, primary_and_two(), kNow), {kPrimary}, Reason::pinned);
    expect(decide(begin_read_only(), session, primary_and_two(), kNow), {kPrimary}, Reason::pinned);
    expect(decide(a_write(), session, primary_and_two(), kNow), {kPrimary}, Reason::write);
    const auto hinted = classify("/* pgsteer: replica */ SELECT nobody_knows(1)");
    expect(decide(hinted, session, primary_and_two(), kNow), {kPrimary}, Reason::pinned);
    expect(decide(a_read(), session, without_primary(primary_and_two()), kNow), {},
           Reason::no_primary);
}

// A text that may be a read after all; and what would be another statement on a replica, or an
// error for certain.
TEST(Decide, HintReplicaOverridesOnlyWhatTheReplicaWouldRefuse) {
    const auto place = [](const std::string& sql) {
        return decide(classify("/* pgsteer: replica */ " + sql), {}, primary_and_two(), kNow);
    };
    for (const auto* sql : {"SELECT 1", "SELECT nobody_knows(1)", "SELECT 1 OPERATOR(app.+) 1",
                            "SELECT pg_stat_reset()", "SELECT * FROM pg_stat_activity",
                            "SELECT 1::app.opaque", "SELECT nextval('s')"})
        expect(place(sql), {kFirst, kSecond}, Reason::hint_replica);
    for (const auto* sql :
         {"INSERT INTO t VALUES (1)", "SELECT * FROM t FOR UPDATE", "CREATE TABLE t (a int)",
          "LISTEN c", "SELECT 1 INTO t", "SELECT broken from", "CALL p()",
          "CREATE TEMP TABLE t (a int)", "TRUNCATE t"}) {
        const auto route = place(sql);
        EXPECT_FALSE(route.to_replica) << sql;
        EXPECT_NE(route.reason, Reason::hint_replica) << sql;
    }
}

TEST(Decide, HintReplicaKeepsTheSessionsFloor) {
    const auto hinted = classify("/* pgsteer: replica */ SELECT 1");
    expect(decide(hinted, {}, primary_and_two(), kNow), {kFirst, kSecond}, Reason::hint_replica);
    expect(decide(hinted, seen(kNow), primary_and_two(), kNow), {kPrimary}, Reason::replica_behind);
}

// --- nowhere ---

// The replica that a read was on has been promoted, and the other one has no evidence yet.
TEST(Decide, AReadThatMayRunNowhereIsForTheNextLookWhereServersAreUp) {
    auto topology = primary_and({replica(kNever)});
    SessionView session;
    session.avoid = {kPrimary};
    auto route = decide(a_read(), session, topology, kNow);
    EXPECT_TRUE(route.candidates.empty());
    EXPECT_TRUE(route.is_for_the_next_look);
    EXPECT_FALSE(decide(a_write(), session, topology, kNow).is_for_the_next_look);

    topology = without_primary(topology);
    topology.servers[1].status = Status::unhealthy;
    route = decide(a_read(), session, topology, kNow);
    EXPECT_TRUE(route.candidates.empty());
    EXPECT_FALSE(route.is_for_the_next_look);
}

}  // namespace
}  // namespace pgsteer::routing
