#include "proxy/session/batch_facts.hpp"

#include "proxy/session/batcher.hpp"
#include "proxy/session/last_by_name.hpp"
#include "proxy/session/synthetic_verdicts.hpp"
#include "proxy/wire/frontend.hpp"
#include "routing/classify.hpp"
#include "tests/support/client_messages.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>

namespace pgsteer::proxy {
namespace {

namespace frontend = wire::frontend;
using routing::Reason;
using routing::StatementPtr;

constexpr std::size_t kMaxRead = 64 * 1024;

StatementPtr classified(std::string_view sql) {
    return std::make_shared<const routing::CachedStatement>(
        routing::CachedStatement{routing::classify(sql)});
}

class BatchFactsTest : public testing::Test {
protected:
    BatchFacts facts(const Messages& messages) {
        messages_ = messages;
        batch_ = read_batch(wire::Bytes{messages_.bytes}, classified);
        return facts_of(batch_, wire::Bytes{messages_.bytes},
                        {statements_,
                         portals_,
                         {1, view_, shared_},
                         can_classify_,
                         has_cursors_,
                         kMaxRead,
                         connections_});
    }
    Reason reason(const Messages& messages) { return facts(messages).statement->statement.reason; }
    // A statement that the client has prepared before.
    void prepare(std::string_view name, std::string_view sql, bool is_certain = true) {
        wire::Buffer message;
        wire::encode_parse(message, name, sql, {});
        const auto sent = statements_.parse(name, message, classified(sql), ledger_);
        if (!is_certain) return;
        statements_.completed(sent.of_client);
        statements_.commit();
    }
    std::string only(const Messages& messages) {
        const auto found = facts(messages).only;
        return found ? std::string{routing::name(found->statement.reason)} : "";
    }

    std::shared_ptr<const routing::Catalog> catalog_ =
        routing::build_catalog({}, std::make_shared<const routing::FunctionOverrides>());
    routing::CatalogView view_{catalog_.get(), {}, false};
    routing::JudgedStatements shared_;
    ClientStatements statements_;
    Ledger ledger_;
    Portals portals_;
    bool can_classify_ = true;
    bool has_cursors_ = false;
    std::array<std::uint32_t, 2> connections_{};
    Messages messages_;
    Batch batch_;
};

TEST_F(BatchFactsTest, ColumnsAreDoubtfulWhereTheClientWasToldThemElsewhere) {
    using Pair = std::array<bool, 2>;
    prepare("s", "SELECT * FROM t");
    const auto use = Messages{}.bind("", "s").execute("").sync();
    EXPECT_EQ(facts(use).doubtful_on, (Pair{false, false})) << "told nothing";
    auto& columns = statements_.find("s")->columns;
    columns.told({routing::Slot::replica, 2}, 5);
    connections_ = {1, 2};
    EXPECT_EQ(facts(use).doubtful_on, (Pair{true, false}));
    connections_ = {1, 3};
    EXPECT_EQ(facts(use).doubtful_on, (Pair{true, true})) << "another connection";
    columns.found({routing::Slot::primary, 1}, 5);
    EXPECT_EQ(facts(use).doubtful_on, (Pair{false, true}));
    columns.found({routing::Slot::primary, 1}, 6);
    EXPECT_EQ(facts(use).doubtful_on, (Pair{true, true}));
    EXPECT_FALSE(facts(use).uses_told_unnamed);
    prepare("", "SELECT * FROM t");
    statements_.find("")->columns.told({routing::Slot::replica, 3}, 5);
    EXPECT_TRUE(facts(Messages{}.bind("", "").execute("").sync()).uses_told_unnamed);
    const auto parsed = Messages{}.parse("", "SELECT 1").bind("", "").execute("").sync();
    EXPECT_FALSE(facts(parsed).uses_told_unnamed);
    EXPECT_EQ(facts(parsed).doubtful_on, (Pair{false, false}));
}

TEST_F(BatchFactsTest, TheFirstThatNeedsThePrimaryDecides) {
    EXPECT_EQ(reason(Messages{}.query("SELECT 1")), Reason::fresh_replica);
    EXPECT_EQ(reason(Messages{}.query("DELETE FROM t")), Reason::write);
    EXPECT_EQ(reason(Messages{}.parse("", "SELECT 1").bind("", "").execute("").sync()),
              Reason::fresh_replica);
    EXPECT_EQ(reason(Messages{}
                         .parse("", "SELECT 1")
                         .bind("", "")
                         .execute("")
                         .parse("", "SELECT f()")
                         .bind("", "")
                         .execute("")
                         .sync()),
              Reason::unknown_function);
    EXPECT_EQ(reason(Messages{}.sync()), Reason::session_control);
}

TEST_F(BatchFactsTest, SessionControlBesideReadsIsForThePrimary) {
    EXPECT_EQ(reason(Messages{}
                         .parse("a", "SET work_mem = '1MB'")
                         .bind("", "a")
                         .execute("")
                         .parse("b", "SELECT 1")
                         .bind("", "b")
                         .execute("")
                         .sync()),
              Reason::multi_statement);
}

TEST_F(BatchFactsTest, WhatNobodyHasParsedIsForThePrimary) {
    const auto found = facts(Messages{}.bind("", "s").execute("").sync());
    EXPECT_EQ(found.statement->statement.reason, Reason::sql_prepare);
    EXPECT_FALSE(found.names_uncertain) << "nothing is under way that could change it";
    EXPECT_EQ(found.executed, nullptr);
    EXPECT_EQ(reason(Messages{}.execute("p").sync()), Reason::cursor);
    can_classify_ = false;
    statements_.completed(statements_.parse("unread", {}, nullptr, ledger_).of_client);
    EXPECT_EQ(reason(Messages{}.bind("", "unread").sync()), Reason::unclassified_encoding);
    can_classify_ = true;
    EXPECT_EQ(reason(Messages{}.describe('S', "unread").sync()), Reason::too_complex);
}

TEST_F(BatchFactsTest, NamesAreThoseThatWereSaidLast) {
    prepare("s", "DELETE FROM t");
    EXPECT_EQ(reason(Messages{}.bind("", "s").execute("").sync()), Reason::write);
    EXPECT_EQ(reason(Messages{}.parse("s", "SELECT 1").bind("", "s").execute("").sync()),
              Reason::fresh_replica)
        << "as its Parse says";
    portals_.push_back({"p", classified("DELETE FROM t")});
    EXPECT_EQ(reason(Messages{}.parse("", "SELECT 1").bind("p", "").execute("p").sync()),
              Reason::fresh_replica);
    EXPECT_EQ(
        reason(Messages{}.execute("p").parse("", "SELECT 1").bind("p", "").execute("p").sync()),
        Reason::write)
        << "what was bound before is executed first";
}

TEST_F(BatchFactsTest, UncertainIsWhatAnotherRequestUnderWayMayChange) {
    prepare("sure", "SELECT 1");
    prepare("sent", "SELECT 1", false);
    EXPECT_FALSE(facts(Messages{}.bind("", "sent").execute("").sync()).names_uncertain)
        << "by the same request: an error skips both";
    statements_.send(MessageKind::sync, nullptr, ledger_);
    EXPECT_FALSE(facts(Messages{}.bind("", "sure").execute("").sync()).names_uncertain);
    EXPECT_TRUE(facts(Messages{}.bind("", "sent").execute("").sync()).names_uncertain);
    EXPECT_TRUE(facts(Messages{}.parse("sent", "SELECT 2").sync()).names_uncertain);
    EXPECT_FALSE(facts(Messages{}.parse("new", "SELECT 2").bind("", "new").sync()).names_uncertain);
    for (const auto* sql :
         {"EXECUTE sent", "EXPLAIN EXECUTE sent", "EXECUTE sent(1 + 1)", "SELECT 1; EXECUTE sent",
          "DEALLOCATE sent", "PREPARE sent AS SELECT 1"})
        EXPECT_TRUE(facts(Messages{}.query(sql)).names_uncertain) << sql;
    EXPECT_FALSE(facts(Messages{}.query("EXECUTE sure")).names_uncertain);
}

TEST_F(BatchFactsTest, ExecuteIsWhatItRuns) {
    prepare("s", "DELETE FROM t");
    EXPECT_EQ(reason(Messages{}.query("EXECUTE s")), Reason::write);
}

TEST_F(BatchFactsTest, ABeginThatLivesOnByItsNameIsForThePrimary) {
    EXPECT_EQ(reason(Messages{}.parse("", "BEGIN").bind("", "").execute("").sync()),
              Reason::transaction_control);
    EXPECT_EQ(reason(Messages{}.parse("", "BEGIN").bind("p", "").execute("p").sync()),
              Reason::cursor);
    prepare("b", "BEGIN READ ONLY");
    EXPECT_EQ(reason(Messages{}.bind("p", "b").execute("p").sync()), Reason::cursor);
}

TEST_F(BatchFactsTest, AReadThatCannotBeKeptIsForThePrimary) {
    const std::string long_read = "SELECT '" + std::string(kMaxRead, 'x') + "'";
    EXPECT_EQ(reason(Messages{}.query(long_read)), Reason::request_too_large);
    Messages cut = Messages{}.query("SELECT 1");
    const auto batch = read_batch(wire::Bytes{cut.bytes}, classified);
    const auto part = wire::Bytes{cut.bytes}.first(cut.bytes.size() - 1);
    const auto found =
        facts_of(batch, part, {statements_, portals_, {1, view_, shared_}, true, false, kMaxRead});
    EXPECT_EQ(found.statement->statement.reason, Reason::request_too_large);
    EXPECT_EQ(found.only, nullptr);
}

TEST_F(BatchFactsTest, NotesWhatStatementsChange) {
    EXPECT_TRUE(facts(Messages{}.query("SET search_path = a")).changes_names);
    EXPECT_FALSE(facts(Messages{}.query("SELECT 1")).changes_names);
    EXPECT_TRUE(facts(Messages{}.query("SET pgsteer.consistency = 'strict'")).sets_options);
    EXPECT_FALSE(facts(Messages{}.query("SET work_mem = '1MB'")).sets_options);
    EXPECT_TRUE(facts(Messages{}.query("COMMIT")).may_commit);
    EXPECT_FALSE(facts(Messages{}.query("SELECT 1")).may_commit);
    EXPECT_TRUE(facts(Messages{}.query("this is no SQL")).may_commit) << "nobody knows";
}

TEST_F(BatchFactsTest, TheOneExecution) {
    const auto executed = [this](const Messages& messages) {
        const auto found = facts(messages).executed;
        return found ? found->statement.reason : Reason::no_primary;
    };
    EXPECT_EQ(executed(Messages{}.query("DELETE FROM t")), Reason::write);
    EXPECT_EQ(executed(Messages{}.parse("", "BEGIN").bind("", "").execute("").sync()),
              Reason::transaction_control);
    EXPECT_EQ(executed(Messages{}.sync()), Reason::no_primary);
    EXPECT_EQ(executed(Messages{}.parse("", "BEGIN").bind("", "").execute("").execute("").sync()),
              Reason::no_primary)
        << "two";
    EXPECT_EQ(executed(Messages{}.parse("", "SELECT 1").query("DELETE FROM t")), Reason::no_primary)
        << "an error in front of it skips it";
    portals_.push_back({"p", classified("DELETE FROM t")});
    EXPECT_EQ(executed(Messages{}.execute("p").sync()), Reason::write);
    EXPECT_TRUE(facts(Messages{}.sync()).ends);
    EXPECT_FALSE(facts(Messages{}.parse("", "SELECT 1").flush()).ends);
}

TEST_F(BatchFactsTest, TheOnlyStatement) {
    EXPECT_EQ(only(Messages{}.query("BEGIN")), "transaction_control");
    EXPECT_EQ(only(Messages{}.parse("", "BEGIN").bind("", "").describe('P', "").execute("").sync()),
              "transaction_control");
    EXPECT_EQ(
        only(Messages{}.parse("a", "BEGIN").describe('S', "a").bind("", "a").execute("").sync()),
        "transaction_control");
    prepare("b", "BEGIN");
    EXPECT_EQ(only(Messages{}.bind("p", "b").execute("p").sync()), "transaction_control");
    for (const auto& more : {
             Messages{}.sync(),
             Messages{}.parse("", "BEGIN").bind("", "").execute(""),
             Messages{}.parse("", "BEGIN").bind("", "").sync(),
             Messages{}.parse("", "BEGIN").bind("", "").limited("").sync(),
             Messages{}.parse("", "BEGIN").bind("", "").execute("").execute("").sync(),
             Messages{}.parse("", "BEGIN").bind("p", "").execute("").sync(),
             Messages{}.parse("x", "BEGIN").bind("", "b").execute("").sync(),
             Messages{}.parse("b", "BEGIN").bind("", "b").execute("").sync(),
             Messages{}.parse("", "BEGIN").close('S', "").bind("", "").execute("").sync(),
             Messages{}.parse("", "BEGIN").query("BEGIN"),
             Messages{}.describe('S', "b").bind("", "b").execute("").sync(),
             Messages{}.bind("", "none").execute("").sync(),
         })
        EXPECT_EQ(only(more), "");
}

TEST_F(BatchFactsTest, PortalsThatOthersMayUse) {
    EXPECT_FALSE(
        facts(Messages{}.parse("", "SELECT 1").bind("", "").execute("").sync()).leaves_portal);
    EXPECT_TRUE(facts(Messages{}.parse("", "SELECT 1").bind("", "").sync()).leaves_portal);
    EXPECT_TRUE(
        facts(Messages{}.parse("", "SELECT 1").bind("p", "").execute("p").sync()).leaves_portal);
    EXPECT_TRUE(
        facts(Messages{}.parse("", "SELECT 1").bind("", "").limited("").sync()).leaves_portal);
}

// Looks everything up in the batch, for each message again.
struct Naive {
    const Batch& batch;
    wire::Bytes bytes;
    [[nodiscard]] bool leaves_portal() const {
        for (std::size_t i = 0; i < batch.items.size(); ++i) {
            const auto& item = batch.items[i];
            if (item.type == frontend::kExecute && item.limited) return true;
            if (item.type != frontend::kBind) continue;
            if (item.portal_size > 0) return true;
            bool is_executed = false;
            for (std::size_t k = i + 1; k < batch.items.size(); ++k)
                is_executed = is_executed || (batch.items[k].type == frontend::kExecute &&
                                              batch.items[k].name_size == 0);
            if (!is_executed) return true;
        }
        return false;
    }
    // What the one Execute runs.
    [[nodiscard]] StatementPtr executed(const ClientStatements& statements) const {
        const BatchItem* execute = nullptr;
        for (const auto& item : batch.items) {
            if (item.type != frontend::kExecute) continue;
            if (execute != nullptr) return nullptr;
            execute = &item;
        }
        if (execute == nullptr) return nullptr;
        const BatchItem* bind = nullptr;
        for (const auto& item : batch.items) {
            if (&item == execute) break;
            if (item.type == frontend::kBind && portal_of(item, bytes) == name_of(*execute, bytes))
                bind = &item;
        }
        if (bind == nullptr) return nullptr;
        const auto& known = statements.find(name_of(*bind, bytes));
        StatementPtr runs = known ? known->statement : nullptr;
        for (const auto& item : batch.items) {
            if (&item == bind) break;
            if (item.type == frontend::kParse && name_of(item, bytes) == name_of(*bind, bytes))
                runs = item.statement;
        }
        return runs;
    }
};

TEST_F(BatchFactsTest, AsOneWhoLooksEverythingUp) {
    prepare("s0", "SELECT 1");
    prepare("s1", "DELETE FROM t");
    std::mt19937 random{7};
    const auto pick = [&](unsigned count) { return random() % count; };
    for (int round = 0; round < 5'000; ++round) {
        Messages messages;
        const auto statement = [&] { return pick(4) == 0 ? "" : "s" + std::to_string(pick(12)); };
        const auto portal = [&] { return pick(2) == 0 ? "" : "p" + std::to_string(pick(12)); };
        for (auto count = pick(30); count > 0; --count) {
            switch (pick(6)) {
                case 0:
                    messages.parse(statement(), pick(2) == 0 ? "SELECT 1" : "DELETE FROM t");
                    break;
                case 1:
                case 2:
                    messages.bind(portal(), statement());
                    break;
                case 3:
                    messages.describe('S', statement());
                    break;
                default:
                    if (pick(3) == 0) messages.execute(portal());
            }
        }
        messages.sync();
        const auto found = facts(messages);
        const Naive naive{batch_, wire::Bytes{messages_.bytes}};
        ASSERT_EQ(found.leaves_portal, naive.leaves_portal()) << "round " << round;
        ASSERT_EQ(found.executed, naive.executed(statements_)) << "round " << round;
    }
}

TEST_F(BatchFactsTest, NoParameters) {
    const auto none = [this](const Messages& messages) {
        EXPECT_NE(facts(messages).only, nullptr);
        return has_no_parameters(batch_, wire::Bytes{messages_.bytes}, statements_);
    };
    EXPECT_TRUE(none(Messages{}.query("BEGIN")));
    EXPECT_TRUE(none(Messages{}.parse("", "BEGIN").bind("", "").execute("").sync()));
    Messages declared;
    wire::encode_parse(declared.bytes, "", "BEGIN", std::array<std::uint32_t, 1>{23});
    EXPECT_FALSE(none(declared.bind("", "").execute("").sync()));
    prepare("b", "BEGIN");
    EXPECT_TRUE(none(Messages{}.bind("", "b").execute("").sync()));
}

TEST(LastByName, FindsWhatWasSaidLastOfFewAndOfMany) {
    LastByName<int> last;
    std::map<std::string, int> expected;
    std::vector<std::string> names;
    for (int i = 0; i < 100; ++i) names.push_back("name" + std::to_string(i));
    EXPECT_EQ(last.find(names[0]), nullptr);
    for (int i = 0; i < 1'000; ++i) {
        const auto& name =
            names[static_cast<std::size_t>(i * i) %
                  std::min<std::size_t>(names.size(), 1 + static_cast<std::size_t>(i) / 4)];
        last.put(name, i);
        expected[name] = i;
        for (const auto& each : names) {
            auto* const found = last.find(each);
            ASSERT_EQ(found != nullptr, expected.contains(each));
            if (found != nullptr) {
                ASSERT_EQ(*found, expected[each]);
            }
        }
    }
    std::size_t count = 0;
    for (const auto& [name, value] : last) count += expected.at(std::string{name}) == value ? 1 : 0;
    EXPECT_EQ(count, expected.size());
}

TEST_F(BatchFactsTest, APortalMayHaveTheNameOfACursor) {
    const auto named = Messages{}.parse("", "SELECT 1").bind("p", "").execute("p").sync();
    EXPECT_EQ(facts(named).statement->statement.access, routing::Access::read_only);
    has_cursors_ = true;
    const auto found = facts(named).statement->statement;
    EXPECT_EQ(found.reason, Reason::cursor);
    EXPECT_TRUE(found.uses_cursor) << "it runs where they are";
    EXPECT_FALSE(facts(Messages{}.parse("", "SELECT 1").bind("", "").execute("").sync())
                     .statement->statement.uses_cursor);
    EXPECT_TRUE(facts(Messages{}.query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")).changes_names);
}

}  // namespace
}  // namespace pgsteer::proxy
