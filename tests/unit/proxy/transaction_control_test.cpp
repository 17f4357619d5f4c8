// Transactions that no server has yet, or that leave their replica, as client and servers see them.
#include "proxy/session/transaction_control.hpp"

#include "tests/support/session_world.hpp"

namespace pgsteer::proxy {
namespace {

using routing::TransactionStatus;
using support::message;
using testing::HasSubstr;
using testing::IsEmpty;

class TransactionControlTest : public SessionWorld {
protected:
    explicit TransactionControlTest(const Change& change = {}) : SessionWorld{change} {}

    // The client has sent this batch of one statement. Whether it has been answered.
    bool answer(std::string_view sql) { return answer(query(sql), sql); }
    bool answer(std::string_view messages, std::string_view sql) {
        return base().result_of(begin_to_answer(messages, sql));
    }
    awaitable<bool> begin_to_answer(std::string_view messages, std::string_view sql) {
        EXPECT_EQ(receive(messages), Batcher::Step::dispatch);
        facts_ = {};
        facts_.only = statement(sql);
        return control_.answer(facts_);
    }
    [[nodiscard]] std::string client_hears() {
        run();
        return client_end_.heard();
    }
    // The client may send the next batch.
    void consume() { client_.batcher.consume(true); }
    // A READ ONLY transaction that was answered, and then opened on the replica.
    void open_on_replica() {
        EXPECT_TRUE(answer("begin read only"));
        consume();
        connect(Slot::replica);
        wire::Buffer out;
        control_.open(Slot::replica, out);
        sides_[Slot::replica].lease->replies.pop();
        sides_[Slot::replica].lease->transaction_status = TransactionStatus::in_block;
        (void)client_hears();
    }
    static std::string ready(char status) { return message('Z', std::string(1, status)); }
    static std::string done(std::string tag) { return message('C', tag + '\0'); }

    BatchFacts facts_;
    Options options_{lodging_, who_, memory_};
    Progress progress_{lodging_, client_, course_, sides_};
    TransactionControl control_{lodging_, client_, course_, memory_, sides_, options_, progress_};
};

class TransactionControlOfThePrimaryTest : public TransactionControlTest {
protected:
    TransactionControlOfThePrimaryTest()
        : TransactionControlTest{[](conf::Config& config) {
              config.routing.transactions = conf::Transactions::primary;
          }} {}
};

// --- answered here ---

TEST_F(TransactionControlTest, AnswersABeginInAServersPlace) {
    EXPECT_TRUE(answer("begin read only"));
    EXPECT_EQ(client_hears(), done("BEGIN") + ready('T'));
    EXPECT_TRUE(memory_.transaction.is_waiting());
}

TEST_F(TransactionControlTest, AnswersTheCommitOfWhatNoServerHas) {
    EXPECT_TRUE(answer("begin read only"));
    consume();
    (void)client_hears();
    EXPECT_TRUE(answer("commit"));
    EXPECT_EQ(client_hears(), done("COMMIT") + ready('I'));
}

TEST_F(TransactionControlTest, AnswersEachMessageOfABatch) {
    wire::Buffer batch;
    wire::encode_parse(batch, "", "begin read only", {});
    wire::encode_bind(batch, "", "");
    const auto describe = message('D', std::string_view{"P\0", 2});
    wire::Buffer end;
    wire::encode_execute(end, "");
    wire::encode_sync(end);
    const auto bytes =
        std::string{wire::as_text(batch)} + describe + std::string{wire::as_text(end)};
    EXPECT_TRUE(answer(bytes, "begin read only"));
    EXPECT_EQ(client_hears(),
              message('1', "") + message('2', "") + message('n', "") + done("BEGIN") + ready('T'));
}

TEST_F(TransactionControlTest, DescribesAStatementWithoutParameters) {
    wire::Buffer parse;
    wire::encode_parse(parse, "", "begin read only", {});
    const auto describe = message('D', std::string_view{"S\0", 2});
    wire::Buffer end;
    wire::encode_bind(end, "", "");
    wire::encode_execute(end, "");
    wire::encode_sync(end);
    EXPECT_TRUE(
        answer(std::string{wire::as_text(parse)} + describe + std::string{wire::as_text(end)},
               "begin read only"));
    EXPECT_THAT(client_hears(),
                HasSubstr(message('t', std::string_view{"\0\0", 2}) + message('n', "")));
}

TEST_F(TransactionControlTest, AnswersASyncWhileTheTransactionWaits) {
    EXPECT_TRUE(answer("begin read only"));
    consume();
    (void)client_hears();
    EXPECT_TRUE(answer(message('S', ""), "select 1"));
    EXPECT_EQ(client_hears(), ready('T'));
}

TEST_F(TransactionControlTest, LeavesASyncToTheServerWhereNoTransactionWaits) {
    EXPECT_FALSE(answer(message('S', ""), "select 1"));
}

// --- left to a server ---

TEST_F(TransactionControlOfThePrimaryTest, LeavesABeginToTheServer) {
    EXPECT_FALSE(answer("begin read only"));
    EXPECT_THAT(client_hears(), IsEmpty());
}

TEST_F(TransactionControlTest, LeavesOtherStatementsToAServer) {
    EXPECT_FALSE(answer("select 1"));
    EXPECT_FALSE(TransactionControl::may_answer(statement("select 1")->statement));
}

TEST_F(TransactionControlTest, LeavesABatchOfSeveralStatementsToAServer) {
    EXPECT_EQ(receive(query("begin read only; select 1")), Batcher::Step::dispatch);
    EXPECT_FALSE(base().result_of(control_.answer(facts_)));
}

TEST_F(TransactionControlTest, LeavesABatchWithParametersToAServer) {
    wire::Buffer batch;
    const std::array<std::uint32_t, 1> types{23};
    wire::encode_parse(batch, "", "begin read only", types);
    wire::encode_bind(batch, "", "");
    wire::encode_execute(batch, "");
    wire::encode_sync(batch);
    EXPECT_FALSE(answer(wire::as_text(batch), "begin read only"));
}

TEST_F(TransactionControlTest, LeavesABatchWhosePortalStaysToAServer) {
    EXPECT_EQ(receive(query("begin read only")), Batcher::Step::dispatch);
    facts_.only = statement("begin read only");
    facts_.leaves_portal = true;
    EXPECT_FALSE(base().result_of(control_.answer(facts_)));
}

// --- in its turn ---

TEST_F(TransactionControlTest, AnswersBehindTheAnswersBefore) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    const auto answered =
        base().start(begin_to_answer(query("begin read only"), "begin read only"));
    EXPECT_FALSE(*answered);
    EXPECT_THAT(client_hears(), IsEmpty());
    course_.requests.finish_front();
    course_.changed.notify_all();
    run();
    EXPECT_EQ(*answered, true);
}

TEST_F(TransactionControlTest, AnswersNothingOnceTheSessionIsOver) {
    connect(Slot::primary);
    owes(Slot::primary);
    request(Slot::primary);
    const auto answered =
        base().start(begin_to_answer(query("begin read only"), "begin read only"));
    client_.closing = true;
    course_.changed.notify_all();
    run();
    EXPECT_EQ(*answered, false);
}

// --- opened, and left ---

TEST_F(TransactionControlTest, OpensWhatWaitsWhereItsFirstStatementRuns) {
    EXPECT_TRUE(answer("begin isolation level repeatable read read only"));
    connect(Slot::replica);
    wire::Buffer out;
    control_.open(Slot::replica, out);
    EXPECT_EQ(std::string{wire::as_text(out)},
              query("begin isolation level repeatable read read only"));
    EXPECT_EQ(sides_[Slot::replica].lease->replies.front()->purpose, Purpose::transaction);
    EXPECT_EQ(memory_.state.transaction_on(), Slot::replica);
}

TEST_F(TransactionControlTest, OpensNothingThatTheServerWouldIgnore) {
    EXPECT_TRUE(answer("begin read only"));
    connect(Slot::replica).replies.skip_to_sync([](const Expected&) {});
    wire::Buffer out;
    control_.open(Slot::replica, out);
    EXPECT_TRUE(out.empty());
    EXPECT_TRUE(memory_.transaction.is_waiting());
}

TEST_F(TransactionControlTest, LeavesTheReplicaByARollback) {
    open_on_replica();
    control_.leave_replica();
    run();
    EXPECT_EQ(server(Slot::replica).heard(), query("ROLLBACK"));
    EXPECT_TRUE(memory_.transaction.is_waiting()) << "to be opened on the primary";
    EXPECT_EQ(sides_[Slot::replica].lease->transaction_status, TransactionStatus::idle);
}

TEST_F(TransactionControlTest, RollsNothingBackWhereNothingIsOpen) {
    connect(Slot::replica);
    control_.roll_back_on_replica();
    run();
    EXPECT_THAT(server(Slot::replica).heard(), IsEmpty());
}

TEST_F(TransactionControlTest, RollsNothingBackOnAConnectionThatIsGone) {
    control_.roll_back_on_replica();
    EXPECT_FALSE(sides_[Slot::replica].lease);
}

TEST_F(TransactionControlTest, ReleasesAReplicaThatWouldIgnoreTheRollback) {
    auto& connection = connect(Slot::replica);
    connection.transaction_status = TransactionStatus::in_block;
    connection.replies.skip_to_sync([](const Expected&) {});
    control_.roll_back_on_replica();
    EXPECT_FALSE(sides_[Slot::replica].lease);
}

TEST_F(TransactionControlTest, FailsATransactionOnAReplica) {
    open_on_replica();
    control_.fail();
    run();
    EXPECT_EQ(server(Slot::replica).heard(), query("ROLLBACK"));
    EXPECT_EQ(memory_.transaction.status(), TransactionStatus::failed);
}

TEST_F(TransactionControlTest, FailsATransactionThatNoServerHas) {
    EXPECT_TRUE(answer("begin read only"));
    control_.fail();
    EXPECT_EQ(memory_.transaction.status(), TransactionStatus::failed);
}

}  // namespace
}  // namespace pgsteer::proxy
