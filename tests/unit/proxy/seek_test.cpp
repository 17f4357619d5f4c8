// What a look for a server comes to, and what is waited for.
#include "proxy/session/seek.hpp"

#include "tests/support/session_world.hpp"

#include <cstdlib>
#include <filesystem>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Lsn;
using routing::Reason;
using routing::TransactionStatus;
using testing::HasSubstr;

class SeekTest : public SessionWorld {
protected:
    explicit SeekTest(const Change& change = {}) : SessionWorld{change} { (void)options_.start(); }

    // A search for a server that may have it; it came just now.
    Search& search_for(std::string_view sql, const Demand& demand = {}) {
        statement_ = statement(sql);
        search_.emplace(*statement_, demand);
        search_->demand.arrived = Clock::now();
        return *search_;
    }
    Next look(std::string_view sql, const Demand& demand = {}) {
        return seek_.look(search_for(sql, demand));
    }
    [[nodiscard]] const Choice& choice() const { return search_->choice; }
    // Why nothing was chosen; ok: something was.
    [[nodiscard]] ProxyErrc failure() const {
        return choice().failure ? choice().failure->reason() : ProxyErrc::ok;
    }
    // Until it is known where it runs.
    void choose(std::string_view sql) {
        const auto next = look(sql);
        const auto chosen = start(seek_.choose(*search_, next));
        run_until([&] { return chosen->has_value(); });
    }
    std::shared_ptr<std::optional<bool>> start_to_choose(std::string_view sql) {
        const auto next = look(sql);
        return start(seek_.choose(*search_, next));
    }
    // All places that there are for joe in his database there.
    void exhaust(Slot slot) {
        while (connections_.group_of(PoolWorld::key(id(slot))).budget->try_take()) {
        }
    }
    // The session has seen on the primary what no replica is known to have.
    void fall_behind() { memory_.freshness.primary_has_answered(Clock::now() + 1h); }
    // The same, and up to where a replica has to have replayed.
    void fall_behind(Lsn position) {
        fall_behind();
        memory_.freshness.sampled({1, position}, Clock::now() + 1h);
    }
    static Demand verifiable() {
        Demand demand;
        demand.may_verify = true;
        return demand;
    }

    routing::StatementPtr statement_;
    std::optional<Search> search_;
    TransactionEnd transaction_end_{lodging_, client_, who_, course_, memory_, sides_};
    Options options_{lodging_, who_, memory_};
    Questions questions_{lodging_, client_, course_, memory_, sides_};
    LastRoute last_route_{lodging_, client_, course_, memory_, sides_};
    RequestEnd request_end_{lodging_, who_, course_, memory_, last_route_};
    Progress progress_{lodging_, client_, course_, sides_};
    Judge judge_{lodging_, client_, who_, course_, memory_, sides_, options_};
    Seek seek_{lodging_,         client_,  who_,       course_,      memory_,   sides_,
               transaction_end_, options_, questions_, request_end_, progress_, judge_};
};

// --- a server, and a connection to it ---

TEST_F(SeekTest, WantsAConnectionToAReplicaForARead) {
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::replica);
    EXPECT_EQ(choice().reason, Reason::fresh_replica);
    EXPECT_EQ(search_->server, PoolWorld::kReplica);
}

TEST_F(SeekTest, WantsAConnectionToThePrimaryForAWrite) {
    EXPECT_EQ(look("update t set a = 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_EQ(search_->server, PoolWorld::kPrimary);
}

TEST_F(SeekTest, ChoosesTheConnectionThatIsHeld) {
    connect(Slot::replica);
    EXPECT_EQ(look("select 1"), Next::chosen);
    EXPECT_EQ(choice().slot, Slot::replica);
    EXPECT_EQ(failure(), ProxyErrc::ok);
}

TEST_F(SeekTest, GivesAConnectionBackThatIsOutdated) {
    connect(Slot::replica).origin.incarnation = kOutdated;
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_FALSE(sides_[Slot::replica].lease);
}

TEST_F(SeekTest, LetsACancelArriveFirst) {
    connect(Slot::replica).cancels_in_flight = 1;
    EXPECT_EQ(look("select 1"), Next::freshness);
    sides_[Slot::replica].lease->cancels_in_flight = 0;
}

TEST_F(SeekTest, GoesToThePrimaryWithWhatHasFailedOnAReplica) {
    Demand demand;
    demand.primary_only = true;
    EXPECT_EQ(look("select 1", demand), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_EQ(choice().reason, Reason::failed_on_replica);
}

TEST_F(SeekTest, GoesToThePrimaryWithWhatFailsOnReplicasAgainAndAgain) {
    auto repeats = std::make_shared<routing::CachedStatement>(*statement("select 1"));
    repeats->repeats_error_until = Clock::now() + 1h;
    Search search{*repeats};
    EXPECT_EQ(seek_.look(search), Next::connection);
    EXPECT_EQ(search.choice.reason, Reason::repeated_error);
}

// --- the course of the session ---

TEST_F(SeekTest, WaitsUntilWhatWasSentElsewhereIsAnswered) {
    connect(Slot::replica);
    request(Slot::replica);
    EXPECT_EQ(look("update t set a = 1"), Next::answers);
}

TEST_F(SeekTest, LeavesAnOpenRequestThatNeedsThePrimary) {
    connect(Slot::replica);
    request(Slot::replica).open = true;
    EXPECT_EQ(look("update t set a = 1"), Next::open_request);
}

TEST_F(SeekTest, WaitsForWhatRunsAgain) {
    course_.running_again = true;
    EXPECT_EQ(look("select 1"), Next::answer);
}

TEST_F(SeekTest, WaitsUntilARunIsDiscarded) {
    connect(Slot::replica);
    sides_[Slot::replica].discarding = true;
    EXPECT_EQ(look("select 1"), Next::answer);
}

TEST_F(SeekTest, SendsNothingThatItsServerWouldSkip) {
    client_.batcher.skip(Skipping::for_server);
    EXPECT_EQ(look("select 1"), Next::chosen);
    EXPECT_EQ(failure(), ProxyErrc::shutting_down);
}

TEST_F(SeekTest, SendsNothingThatWasCancelled) {
    course_.cancel = Cancel::asked;
    EXPECT_EQ(look("select 1"), Next::chosen);
    EXPECT_EQ(failure(), ProxyErrc::query_canceled);
}

// --- no primary ---

TEST_F(SeekTest, FailsBehindTheAnswersBeforeWithoutAPrimary) {
    publish([](auto& topology) { topology.primary.reset(); });
    EXPECT_EQ(look("update t set a = 1"), Next::chosen_in_turn);
    EXPECT_EQ(failure(), ProxyErrc::no_primary);
}

TEST_F(SeekTest, FailsAtOnceWithoutAPrimaryWhereItRunsAgain) {
    publish([](auto& topology) { topology.primary.reset(); });
    Demand demand;
    demand.again = true;
    EXPECT_EQ(look("update t set a = 1", demand), Next::chosen);
    EXPECT_EQ(failure(), ProxyErrc::no_primary);
}

TEST_F(SeekTest, WaitsForAProbeOfAPrimaryThatIsToBeConfirmed) {
    publish([](auto& topology) {
        topology.primary.reset();
        topology.servers[0].is_to_be_confirmed = true;
    });
    EXPECT_EQ(look("update t set a = 1"), Next::probe);
    EXPECT_GT(search_->next_look, routing::TimePoint{});
}

TEST_F(SeekTest, WaitsForAProbeOfAPrimaryThatIsSuspected) {
    base().evidence.server_unreachable(PoolWorld::kPrimary);
    EXPECT_EQ(look("update t set a = 1"), Next::probe);
}

TEST_F(SeekTest, LooksAgainForAReplicaAlsoWhereItHasFailed) {
    publish([](auto& topology) { topology.primary.reset(); });
    Demand demand;
    demand.avoid.add(PoolWorld::kReplica);
    EXPECT_EQ(look("select 1", demand), Next::probe);
    EXPECT_FALSE(search_->demand.avoid.contains(PoolWorld::kReplica));
}

class SeekWithoutPatienceTest : public SeekTest {
protected:
    SeekWithoutPatienceTest()
        : SeekTest{
              [](conf::Config& config) { config.health.timeout = config.health.interval = 0ms; }} {}
};

TEST_F(SeekWithoutPatienceTest, FailsWhenItHasWaitedForTheProbes) {
    publish([](auto& topology) {
        topology.primary.reset();
        topology.servers[0].is_to_be_confirmed = true;
    });
    EXPECT_EQ(look("update t set a = 1"), Next::chosen_in_turn);
    EXPECT_EQ(failure(), ProxyErrc::no_primary);
}

// --- what would be lost ---

TEST_F(SeekTest, FailsWhereTheSessionHasLostWhatThePrimaryHad) {
    connect(Slot::primary);
    completed(Slot::primary, "create temp table t (a int)", TransactionStatus::idle);
    publish([](auto& topology) {
        topology.primary = PoolWorld::kReplica;
        topology.servers[0].role = routing::Role::replica;
        topology.servers[1].role = routing::Role::primary;
    });
    EXPECT_EQ(look("select 1"), Next::chosen);
    EXPECT_EQ(failure(), ProxyErrc::transaction_lost);
}

TEST_F(SeekTest, LeavesNoReplicaOnWhichTheSessionDepends) {
    connect(Slot::replica).origin.incarnation = kOutdated;
    completed(Slot::replica, "declare c cursor with hold for select 1", TransactionStatus::idle);
    EXPECT_EQ(look("select 1"), Next::look_again);
    EXPECT_TRUE(search_->demand.avoid.contains(PoolWorld::kReplica));
    EXPECT_TRUE(sides_[Slot::replica].lease);
    EXPECT_EQ(seek_.look(*search_), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
}

// --- replicas that are behind ---

class PatientSeekTest : public SeekTest {
protected:
    PatientSeekTest()
        : SeekTest{[](conf::Config& config) { config.routing.freshness_wait = 1h; }} {}
};

TEST_F(SeekTest, TakesThePrimaryWhereReplicasAreBehind) {
    fall_behind();
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_EQ(choice().reason, Reason::replica_behind);
}

TEST_F(SeekTest, WantsReplicasToBeLookedAtMoreOften) {
    fall_behind();
    (void)look("select 1");
    EXPECT_TRUE(base().evidence.is_freshness_wanted(Clock::now()));
}

TEST_F(PatientSeekTest, WaitsForReplicasThatAreBehind) {
    fall_behind();
    EXPECT_EQ(look("select 1"), Next::freshness);
}

TEST_F(PatientSeekTest, WaitsNoLongerThanThat) {
    fall_behind();
    auto& search = search_for("select 1");
    search.demand.arrived = Clock::now() - 2h;
    EXPECT_EQ(seek_.look(search), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(SeekTest, WaitsForAPositionThatIsOnItsWay) {
    fall_behind();
    connect(Slot::primary);
    sides_[Slot::primary].sample.is_pending = true;
    EXPECT_EQ(look("select 1"), Next::answer);
}

TEST_F(SeekTest, MakesThePrimaryFlushWhatItHasRolledBack) {
    fall_behind();
    connect(Slot::primary);
    memory_.freshness.primary_request_ended(true, true, TransactionStatus::idle);
    EXPECT_EQ(look("select 1"), Next::answer);
    run();
    EXPECT_THAT(server(Slot::primary).heard(), HasSubstr("pg_logical_emit_message"));
}

// --- replicas that are asked ---

TEST_F(SeekTest, AsksAReplicaThatMayHaveCaughtUp) {
    fall_behind(Lsn{100});
    connect(Slot::replica);
    EXPECT_EQ(look("select 1", verifiable()), Next::chosen);
    EXPECT_EQ(choice().reason, Reason::verified_replica);
    EXPECT_EQ(choice().needed, (routing::WalPosition{1, Lsn{100}}));
}

TEST_F(SeekTest, AsksNoneForAReadWhoseAnswerCannotBeThrownAway) {
    fall_behind(Lsn{100});
    connect(Slot::replica);
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().reason, Reason::replica_behind);
}

TEST_F(SeekTest, AsksNoneThatNeverHasCaughtUp) {
    fall_behind(Lsn{100});
    auto& verification = lodging_.around.freshness().verification(PoolWorld::kReplica);
    for (unsigned i = 0; i < Verification::kForGood; ++i)
        verification.ended(false, Clock::now() + 1h);
    EXPECT_EQ(look("select 1", verifiable()), Next::connection);
    EXPECT_EQ(choice().reason, Reason::replica_behind);
}

// With a second replica, number 2.
class SeekOfTwoReplicasTest : public SeekTest {
protected:
    SeekOfTwoReplicasTest() {
        publish([](auto& topology) { topology.servers.push_back(topology.servers[1]); });
        fall_behind(Lsn{100});
    }
    // The one that is asked.
    [[nodiscard]] routing::ServerId asked() {
        EXPECT_EQ(look("select 1", verifiable()), Next::connection);
        EXPECT_EQ(choice().reason, Reason::verified_replica);
        return search_->server;
    }
    static constexpr routing::ServerId kSecond{2};
};

TEST_F(SeekOfTwoReplicasTest, AsksTheOneThatIsKnownToBeFurthest) {
    lodging_.around.freshness().learnt().learn(kSecond, 1, Lsn{99});
    EXPECT_EQ(asked(), kSecond);
    lodging_.around.freshness().learnt().learn(PoolWorld::kReplica, 1, Lsn{99});
    publish([](auto& topology) { topology.servers[1].position = Lsn{99}; });
    EXPECT_EQ(asked(), PoolWorld::kReplica) << "of equals the first";
}

TEST_F(SeekOfTwoReplicasTest, AsksTheSessionsOwnOfThoseThatAreAsFar) {
    memory_.freshness.replica_has_answered(kSecond, Clock::now());
    memory_.freshness.sampled({1, Lsn{100}}, Clock::now() + 1h);
    EXPECT_EQ(asked(), kSecond);
}

// --- reads that the primary has for want of a replica ---

class SeekWithALimitTest : public SeekTest {
protected:
    SeekWithALimitTest()
        : SeekTest{[](conf::Config& config) {
              config.routing.primary_read_limit = 1;
              config.routing.freshness_wait_max = 1h;
              config.routing.degraded_reads = false;
          }} {
        publish([](auto& topology) { topology.servers[1].checked_at = routing::kNever; });
    }
    // Somebody else's.
    void take_the_last() {
        EXPECT_TRUE(other_.take(lodging_.around.freshness().primary_reads(), 1));
    }
    // A look by a read that has waited for as long as it may.
    Next look_at_last(std::string_view sql) {
        auto& search = search_for(sql);
        search.demand.arrived = Clock::now() - 2h;
        return seek_.look(search);
    }
    PrimaryRead other_;
};

TEST_F(SeekWithALimitTest, CountsAReadForThePrimary) {
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_TRUE(choice().primary_read);
}

TEST_F(SeekWithALimitTest, CountsNoWrites) {
    EXPECT_EQ(look("update t set a = 1"), Next::connection);
    EXPECT_FALSE(choice().primary_read);
}

TEST_F(SeekWithALimitTest, LetsReadsBeyondItWait) {
    take_the_last();
    EXPECT_EQ(look("select 1"), Next::freshness);
}

TEST_F(SeekWithALimitTest, RefusesReadsThatHaveWaited) {
    take_the_last();
    EXPECT_EQ(look_at_last("select 1"), Next::chosen_in_turn);
    EXPECT_EQ(failure(), ProxyErrc::primary_read_limit);
}

TEST_F(SeekWithALimitTest, GivesReadsThatHaveWaitedAStaleReplicaWhereThatWillDo) {
    take_the_last();
    publish([](auto& topology) {
        topology.servers[1].checked_at = Clock::now();
        topology.servers[1].status = routing::Status::degraded;
    });
    EXPECT_EQ(look_at_last("/* pgsteer: consistency=eventual */ select 1"), Next::connection);
    EXPECT_EQ(choice().reason, Reason::stale_replica);
}

// --- logins that are refused, and pools that are exhausted ---

TEST_F(SeekTest, LeavesOutAReplicaThatRefusesTheLogin) {
    base().back_off.refused(PoolWorld::key(PoolWorld::kReplica), "28000", "no", Clock::now());
    EXPECT_EQ(look("select 1"), Next::look_again);
    EXPECT_EQ(seek_.look(*search_), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(SeekTest, LeavesItOutForTheNextReadsToo) {
    base().back_off.refused(PoolWorld::key(PoolWorld::kReplica), "28000", "no", Clock::now());
    (void)look("select 1");
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(SeekTest, LooksWhetherItIsLetInAgainWhereThatIsDue) {
    base().back_off.refused(PoolWorld::key(PoolWorld::kReplica), "28000", "no", Clock::now() - 1h);
    EXPECT_EQ(look("select 1"), Next::look_again);
    run_until([&] { return counters().server_connect_failures[1].get() > 0; });
}

TEST_F(SeekTest, TakesThePrimarySoonerThanAReplicaLater) {
    exhaust(Slot::replica);
    EXPECT_EQ(look("select 1"), Next::look_again);
    EXPECT_EQ(seek_.look(*search_), Next::connection);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(SeekTest, StandsInLineForAReplicaWhereThePrimaryIsExhaustedToo) {
    exhaust(Slot::replica);
    exhaust(Slot::primary);
    EXPECT_EQ(look("select 1"), Next::connection);
    EXPECT_EQ(choice().slot, Slot::replica);
}

// --- choose: failures ---

class ChooseTest : public SeekTest {
protected:
    ChooseTest()
        : SeekTest{[](conf::Config& config) {
              config.pool.acquire_timeout = 1ms;
              config.health.timeout = config.health.interval = 1ms;
          }} {}
};

TEST_F(ChooseTest, FailsWhereNoServerCanBeReached) {
    choose("select 1");
    EXPECT_EQ(failure(), ProxyErrc::no_primary);
    EXPECT_GT(counters().server_connect_failures[1].get(), 0U);
    EXPECT_GT(counters().server_connect_failures[0].get(), 0U) << "behind the replica";
}

TEST_F(ChooseTest, FailsWhereThePoolStaysExhausted) {
    exhaust(Slot::replica);
    exhaust(Slot::primary);
    choose("select 1");
    EXPECT_EQ(failure(), ProxyErrc::acquire_timeout);
    EXPECT_EQ(choice().slot, Slot::replica) << "which is named with the error";
}

TEST_F(SeekTest, EndsAWaitInLineThatIsCancelled) {
    exhaust(Slot::primary);
    const auto chosen = start_to_choose("update t set a = 1");
    EXPECT_FALSE(*chosen);
    course_.cancel = Cancel::asked;
    course_.place_in_pool.leave();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(failure(), ProxyErrc::query_canceled);
}

TEST_F(SeekTest, EndsAWaitInLineWithTheSession) {
    exhaust(Slot::primary);
    const auto chosen = start_to_choose("update t set a = 1");
    client_.closing = true;
    course_.place_in_pool.leave();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(failure(), ProxyErrc::shutting_down);
}

TEST_F(SeekTest, FailsInTurnBehindTheAnswersBefore) {
    publish([](auto& topology) { topology.primary.reset(); });
    connect(Slot::replica);
    owes(Slot::replica);
    request(Slot::replica);
    const auto chosen = start_to_choose("update t set a = 1");
    EXPECT_FALSE(*chosen);
    course_.requests.finish_front();
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(failure(), ProxyErrc::no_primary);
}

// --- choose: waits ---

TEST_F(SeekTest, ChoosesWhenWhatWasSentElsewhereIsAnswered) {
    connect(Slot::primary);
    connect(Slot::replica);
    owes(Slot::replica);
    request(Slot::replica);
    const auto chosen = start_to_choose("update t set a = 1");
    EXPECT_FALSE(*chosen);
    course_.requests.finish_front();
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(SeekTest, ChoosesWhenThePositionHasCome) {
    fall_behind();
    connect(Slot::primary);
    sides_[Slot::primary].sample.is_pending = true;
    const auto chosen = start_to_choose("select 1");
    EXPECT_FALSE(*chosen);
    sides_[Slot::primary].sample.is_pending = false;
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(choice().reason, Reason::replica_behind);
}

TEST_F(PatientSeekTest, ChoosesAReplicaWhenItHasCaughtUp) {
    connect(Slot::replica);
    memory_.freshness.primary_has_answered(Clock::now());
    const auto chosen = start_to_choose("select 1");
    EXPECT_FALSE(*chosen);
    publish([](auto& topology) { topology.servers[1].fresh_as_of = Clock::now(); });
    run_until([&] { return chosen->has_value(); });
    EXPECT_EQ(choice().reason, Reason::fresh_replica);
}

TEST_F(SeekTest, ChoosesThePrimaryWhenItIsConfirmed) {
    connect(Slot::primary);
    publish([](auto& topology) {
        topology.primary.reset();
        topology.servers[0].is_to_be_confirmed = true;
    });
    const auto chosen = start_to_choose("update t set a = 1");
    EXPECT_FALSE(*chosen);
    publish([](auto& topology) {
        topology.primary = PoolWorld::kPrimary;
        topology.servers[0].is_to_be_confirmed = false;
    });
    run_until([&] { return chosen->has_value(); });
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_EQ(failure(), ProxyErrc::ok);
}

TEST_F(SeekTest, LooksAgainWithoutARefusedReplica) {
    connect(Slot::primary);
    base().back_off.refused(PoolWorld::key(PoolWorld::kReplica), "28000", "no", Clock::now());
    choose("select 1");
    EXPECT_EQ(choice().slot, Slot::primary);
    EXPECT_EQ(choice().reason, Reason::no_replica);
}

// --- choose: servers that let the session in ---

struct WithServers {
    support::ScriptedServers servers{support::Fault{}};
};

class ChooseAtServersTest : private WithServers, public SeekTest {
protected:
    ChooseAtServersTest()
        : SeekTest{[this](conf::Config& config) {
              config.servers[0].host = servers.host(support::ScriptedServers::primary);
              config.servers[1].host = servers.host(support::ScriptedServers::replica);
              config.auth.users.emplace_back().name = "joe";
          }} {}
};

TEST_F(ChooseAtServersTest, HoldsTheConnectionThatItGets) {
    choose("select 1");
    EXPECT_EQ(failure(), ProxyErrc::ok);
    ASSERT_TRUE(sides_[Slot::replica].lease);
    EXPECT_TRUE(sides_[Slot::replica].lease->origin.to_replica);
    EXPECT_TRUE(sides_.is_held(*sides_[Slot::replica].lease.connection()));
}

// A server that says nothing: what it is told as somebody logs in.
class SilentServer {
public:
    SilentServer() {
        EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path().copy(address.sun_path, sizeof address.sun_path - 1);
        const auto* named = reinterpret_cast<const sockaddr*>(&address);
        EXPECT_EQ(::bind(socket_, named, sizeof address), 0);
        EXPECT_EQ(::listen(socket_, 1), 0);
    }
    ~SilentServer() {
        ::close(socket_);
        if (connection_ >= 0) ::close(connection_);
        std::filesystem::remove_all(folder_);
    }
    SilentServer(const SilentServer&) = delete;
    [[nodiscard]] const std::string& host() const { return folder_; }
    // All so far.
    const std::string& heard() {
        if (connection_ < 0) connection_ = ::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK);
        char part[4096];
        const auto count = connection_ < 0 ? -1 : ::read(connection_, part, sizeof part);
        if (count > 0) heard_.append(part, static_cast<std::size_t>(count));
        return heard_;
    }

private:
    [[nodiscard]] std::string path() const { return folder_ + "/.s.PGSQL.5432"; }
    std::string folder_ = "/tmp/pgsteer_seek_XXXXXX";
    int socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int connection_ = -1;
    std::string heard_;
};

struct WithASilentServer {
    SilentServer silent;
};

// The other one cannot be reached.
class ChooseAtASilentServerTest : private WithASilentServer, public SeekTest {
protected:
    explicit ChooseAtASilentServerTest(Slot slot)
        : SeekTest{[=, this](conf::Config& config) {
              config.servers[id(slot).index].host = silent.host();
              config.auth.users.emplace_back().name = "joe";
          }} {
        who_.identity.parameters = {{"default_transaction_read_only", "off"},
                                    {"application_name", "shop"}};
    }
    // The startup packet.
    std::string told(std::string_view sql) {
        (void)start_to_choose(sql);
        run_until([&] { return silent.heard().find("application_name") != std::string::npos; });
        return silent.heard();
    }
    static std::string read_only(std::string_view value) {
        return "default_transaction_read_only" + std::string{'\0'} + std::string{value};
    }
};

class ChooseAtASilentReplicaTest : public ChooseAtASilentServerTest {
protected:
    ChooseAtASilentReplicaTest() : ChooseAtASilentServerTest{Slot::replica} {}
};

class ChooseAtASilentPrimaryTest : public ChooseAtASilentServerTest {
protected:
    ChooseAtASilentPrimaryTest() : ChooseAtASilentServerTest{Slot::primary} {}
};

TEST_F(ChooseAtASilentReplicaTest, IsToldNothingThatWouldLetItWrite) {
    EXPECT_THAT(told("select 1"), testing::Not(HasSubstr(read_only("off"))));
}

TEST_F(ChooseAtASilentPrimaryTest, IsToldWhatTheClientHasSaid) {
    EXPECT_THAT(told("update t set a = 1"), HasSubstr(read_only("off")));
}

TEST_F(ChooseAtServersTest, TellsTheClientTheValuesBehindAnOutdatedReplica) {
    connect(Slot::replica);
    transaction_end_.outdate_replica(PoolWorld::kReplica);
    who_.shown.start({{"client_encoding", "nonsense"}}, false);
    choose("select 1");
    run();
    const auto& parameters = sides_[Slot::replica].lease->parameters.all();
    ASSERT_TRUE(parameters.contains("client_encoding")) << "the server reports it";
    EXPECT_THAT(client_end_.heard(), HasSubstr("client_encoding"));
}

TEST_F(ChooseAtServersTest, HoldsNothingWhereTheSessionHasEndedMeanwhile) {
    const auto next = look("select 1");
    const auto chosen = base().spawn(to_its_end(seek_.choose(*search_, next)));
    base().io.restart();
    base().io.poll_one();  // it has begun to connect
    client_.closing = true;
    run_until([&] { return chosen->has_value(); });
    EXPECT_EQ(failure(), ProxyErrc::shutting_down);
    EXPECT_FALSE(sides_[Slot::replica].lease);
}

// --- choose: an open request that moves ---

class OpenRequestTest : public SeekTest {
protected:
    OpenRequestTest() {
        connect(Slot::primary);
        connect(Slot::replica);
        request(Slot::replica).open = true;
    }
    // The replica has answered our Sync.
    void answer_sync() {
        sides_[Slot::replica].lease->replies.pop();
        course_.changed.notify_all();
        run();
    }
};

TEST_F(OpenRequestTest, EndsOnTheReplicaByASyncOfOurs) {
    (void)start_to_choose("update t set a = 1");
    EXPECT_EQ(server(Slot::replica).heard(), support::message('S', ""));
    EXPECT_TRUE(sides_[Slot::replica].lease->replies.front()->internal);
}

TEST_F(OpenRequestTest, MovesWhenTheReplicaHasAnswered) {
    const auto chosen = start_to_choose("update t set a = 1");
    EXPECT_FALSE(course_.moved);
    answer_sync();
    EXPECT_TRUE(course_.moved);
    EXPECT_TRUE(course_.requests.empty());
    EXPECT_TRUE(*chosen);
    EXPECT_EQ(choice().slot, Slot::primary);
}

TEST_F(OpenRequestTest, GoesNowhereOnceItHasFailed) {
    const auto chosen = start_to_choose("update t set a = 1");
    course_.requests.back().failed = true;
    answer_sync();
    EXPECT_FALSE(course_.moved);
    EXPECT_TRUE(course_.requests.empty());
    EXPECT_EQ(client_.batcher.skipping(), Skipping::for_us);
    EXPECT_EQ(failure(), ProxyErrc::shutting_down);
}

TEST_F(OpenRequestTest, WaitsForTheRequestsBefore) {
    course_.requests.clear();
    owes(Slot::replica);
    request(Slot::replica);
    request(Slot::replica).open = true;
    (void)start_to_choose("update t set a = 1");
    EXPECT_EQ(server(Slot::replica).heard(), "");
    course_.requests.finish_front();
    course_.changed.notify_all();
    run();
    EXPECT_EQ(server(Slot::replica).heard(), support::message('S', ""));
}

TEST_F(OpenRequestTest, GoesNowhereWithTheSession) {
    const auto chosen = start_to_choose("update t set a = 1");
    client_.closing = true;
    course_.changed.notify_all();
    run();
    EXPECT_TRUE(*chosen);
    EXPECT_FALSE(course_.moved);
    EXPECT_EQ(failure(), ProxyErrc::shutting_down);
}

}  // namespace
}  // namespace pgsteer::proxy
