// What the session, its transaction and a statement ask of reads, and which of them wins.
#include "proxy/session/options.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using namespace std::chrono_literals;
using routing::Consistency;
using routing::kNever;
using testing::HasSubstr;
using testing::IsEmpty;

class OptionsTest : public SessionWorld {
protected:
    explicit OptionsTest(const Change& change = {}) : SessionWorld{change} {}

    void asks(std::string name, std::string value) {
        who_.identity.parameters.emplace_back(std::move(name), std::move(value));
    }
    [[nodiscard]] Consistency level(std::string_view sql = "select 1") const {
        return options_.level(statement(sql)->statement);
    }
    [[nodiscard]] std::string problem_of(std::string_view sql) {
        Batch batch;
        batch.items.push_back({.type = wire::frontend::kQuery, .statement = statement(sql)});
        return options_.problem_of(batch);
    }
    // BEGIN is answered here, and what its comment says holds to its end.
    void begin(std::string_view sql) {
        EXPECT_FALSE(memory_.transaction
                         .answer(statement(sql)->statement, conf::Transactions::read_only,
                                 options_.default_modes())
                         .empty());
    }

    Options options_{lodging_, who_, memory_};
};

// --- where it begins ---

TEST_F(OptionsTest, BeginWithTheLevelOfTheConfiguration) {
    EXPECT_THAT(options_.start(), IsEmpty());
    EXPECT_EQ(level(), Consistency::session);
}

TEST(OptionsLevels, AreThoseOfTheConfiguration) {
    EXPECT_EQ(Options::level_of(conf::Consistency::eventual), Consistency::eventual);
    EXPECT_EQ(Options::level_of(conf::Consistency::session), Consistency::session);
    EXPECT_EQ(Options::level_of(conf::Consistency::global), Consistency::global);
    EXPECT_EQ(Options::level_of(conf::Consistency::strict), Consistency::strict);
}

// Levels for joe's database, for all others, and for ann.
class OptionsOfDatabasesTest : public OptionsTest {
protected:
    OptionsOfDatabasesTest()
        : OptionsTest{[](conf::Config& config) {
              config.databases.resize(2);
              config.databases[0].name = "app";
              config.databases[0].consistency = conf::Consistency::eventual;
              config.databases[1].name = "*";
              config.databases[1].consistency = conf::Consistency::global;
              config.auth.users.resize(1);
              config.auth.users[0].name = "ann";
              config.auth.users[0].consistency = conf::Consistency::strict;
          }} {}
};

TEST_F(OptionsOfDatabasesTest, BeginWithTheLevelOfTheDatabase) {
    (void)options_.start();
    EXPECT_EQ(level(), Consistency::eventual);
}

TEST_F(OptionsOfDatabasesTest, BeginWithTheLevelOfAllOthersWhereTheDatabaseIsNotNamed) {
    who_.identity.database = "shop";
    (void)options_.start();
    EXPECT_EQ(level(), Consistency::global);
}

TEST_F(OptionsOfDatabasesTest, BeginWithTheLevelOfTheUserBeforeThatOfTheDatabase) {
    who_.identity.user = "ann";
    (void)options_.start();
    EXPECT_EQ(level(), Consistency::strict);
}

// --- the startup packet ---

TEST_F(OptionsTest, AreReadFromTheStartupPacket) {
    asks("pgsteer.consistency", "strict");
    EXPECT_THAT(options_.start(), IsEmpty());
    EXPECT_EQ(level(), Consistency::strict);
}

TEST_F(OptionsTest, LeaveOtherSettingsOfTheStartupPacketToTheServer) {
    asks("datestyle", "nonsense");
    EXPECT_THAT(options_.start(), IsEmpty());
}

TEST_F(OptionsTest, SayWhichValueOfTheStartupPacketIsWrong) {
    asks("pgsteer.consistency", "soon");
    EXPECT_EQ(options_.start(), "invalid value for parameter \"pgsteer.consistency\": \"soon\"");
}

TEST_F(OptionsTest, SayWhichNameOfTheStartupPacketThereIsNot) {
    asks("pgsteer.consistence", "strict");
    EXPECT_EQ(options_.start(), "unrecognized configuration parameter \"pgsteer.consistence\"");
}

TEST_F(OptionsTest, SayWhatOfTheStartupPacketCannotBeChanged) {
    asks("pgsteer.last_route", "here");
    EXPECT_EQ(options_.start(), "parameter \"pgsteer.last_route\" cannot be changed");
}

TEST_F(OptionsTest, KnowTheModesOfTransactionsThatTheStartupPacketAsksFor) {
    asks("default_transaction_isolation", "serializable");
    asks("default_transaction_read_only", "on");
    (void)options_.start();
    const auto modes = options_.default_modes().modes;
    EXPECT_EQ(modes.isolation, routing::Isolation::serializable);
    EXPECT_EQ(modes.read_only, true);
}

TEST_F(OptionsTest, KnowNoModesOfTransactionsAboutWhichNothingIsSaid) {
    (void)options_.start();
    const auto defaults = options_.default_modes();
    EXPECT_FALSE(defaults.modes.isolation);
    EXPECT_FALSE(defaults.modes.read_only);
}

TEST_F(OptionsTest, KnowTheModesOfTheDatabaseWhereNothingElseIsSaid) {
    publish_catalog();
    memory_.catalog.update({}, false, [](const auto&) { return 1; });
    const auto defaults = options_.default_modes();
    EXPECT_EQ(defaults.modes.isolation, routing::Isolation::read_committed);
    EXPECT_FALSE(defaults.isolation_is_the_sessions);
}

TEST_F(OptionsTest, KnowThatTheIsolationLevelIsTheSessions) {
    completed(Slot::primary, "set default_transaction_isolation = 'serializable'",
              routing::TransactionStatus::idle);
    const auto defaults = options_.default_modes();
    EXPECT_EQ(defaults.modes.isolation, routing::Isolation::serializable);
    EXPECT_TRUE(defaults.isolation_is_the_sessions);
}

// --- which of them wins ---

TEST_F(OptionsTest, OfAStatementWinOverThoseOfTheSession) {
    asks("pgsteer.consistency", "strict");
    (void)options_.start();
    EXPECT_EQ(level("/* pgsteer: consistency=eventual */ select 1"), Consistency::eventual);
}

TEST_F(OptionsTest, OfATransactionWinOverThoseOfTheSession) {
    asks("pgsteer.consistency", "strict");
    (void)options_.start();
    begin("/* pgsteer: consistency=eventual */ begin read only");
    EXPECT_EQ(level(), Consistency::eventual);
}

TEST_F(OptionsTest, OfAStatementWinOverThoseOfItsTransaction) {
    (void)options_.start();
    begin("/* pgsteer: consistency=eventual */ begin read only");
    EXPECT_EQ(level("/* pgsteer: consistency=global */ select 1"), Consistency::global);
}

// --- SET ---

TEST_F(OptionsTest, SayWhatIsWrongWithASet) {
    EXPECT_THAT(problem_of("set pgsteer.consistency = 'soon'"), HasSubstr("invalid value"));
}

TEST_F(OptionsTest, HaveNothingAgainstASetThatIsRight) {
    EXPECT_THAT(problem_of("set pgsteer.consistency = 'global'"), IsEmpty());
}

TEST_F(OptionsTest, HaveNothingAgainstOtherSettingsAndOtherStatements) {
    EXPECT_THAT(problem_of("set datestyle = 'nonsense'"), IsEmpty());
    EXPECT_THAT(problem_of("begin"), IsEmpty());
}

TEST_F(OptionsTest, LookAtNoTextThatWasNotRead) {
    Batch batch;
    batch.items.push_back({.type = wire::frontend::kQuery});
    EXPECT_THAT(options_.problem_of(batch), IsEmpty());
}

TEST_F(OptionsTest, SayNothingAgainstASetInATransaction) {
    completed(Slot::primary, "begin", routing::TransactionStatus::in_block);
    EXPECT_THAT(problem_of("set pgsteer.consistency = 'soon'"), IsEmpty());
}

// --- how long a read waits ---

class OptionsOfWaitsTest : public OptionsTest {
protected:
    explicit OptionsOfWaitsTest(std::chrono::milliseconds wait = 200ms)
        : OptionsTest{[wait](conf::Config& config) { config.routing.freshness_wait = wait; }} {
        (void)options_.start();
    }
    // From its arrival on; nullopt: it does not wait.
    [[nodiscard]] std::optional<Clock::duration> patience(std::string_view sql = "select 1") const {
        const auto until = options_.wait_until(statement(sql)->statement, kArrived);
        if (until == kNever) return std::nullopt;
        return until - kArrived;
    }
    static constexpr routing::TimePoint kArrived{1h};
};

class OptionsWithoutAWaitTest : public OptionsOfWaitsTest {
protected:
    OptionsWithoutAWaitTest() : OptionsOfWaitsTest{0ms} {}
};

TEST_F(OptionsOfWaitsTest, LetAReadWaitAsConfigured) { EXPECT_EQ(patience(), 200ms); }

TEST_F(OptionsOfWaitsTest, LetAReadWaitAsItSays) {
    EXPECT_EQ(patience("/* pgsteer: freshness_wait=300ms */ select 1"), 300ms);
}

TEST_F(OptionsOfWaitsTest, LetNoReadWaitOfWhichItIsNotKnownWhenItCame) {
    EXPECT_EQ(options_.wait_until(statement("select 1")->statement, kNever), kNever);
}

TEST_F(OptionsOfWaitsTest, LetNoReadWaitWhoseTransactionHasToStay) {
    completed(Slot::primary, "begin", routing::TransactionStatus::in_block);
    EXPECT_EQ(patience(), std::nullopt);
}

TEST_F(OptionsWithoutAWaitTest, LetNoReadWaitWhereNothingIsConfigured) {
    EXPECT_EQ(patience(), std::nullopt);
}

TEST_F(OptionsWithoutAWaitTest, LetAStrictReadWaitAllTheSame) {
    EXPECT_EQ(patience("/* pgsteer: consistency=strict */ select 1"), 50ms);
}

}  // namespace
}  // namespace pgsteer::proxy
