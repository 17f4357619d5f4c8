#include "proxy/session/client_statements.hpp"

#include "proxy/wire/frontend.hpp"
#include "routing/classify.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pgsteer::proxy {
namespace {

using routing::Effect;

wire::Buffer parse_message(std::string_view name, std::string_view sql = "SELECT 1") {
    wire::Buffer out;
    wire::encode_parse(out, name, sql, {});
    return out;
}

routing::StatementPtr statement() { return std::make_shared<routing::CachedStatement>(); }

routing::StatementPtr with(std::initializer_list<Effect> effects) {
    auto made = std::make_shared<routing::CachedStatement>();
    made->statement.effects = effects;
    return made;
}

Effect effect(Effect::Kind kind, std::string name = {}, std::uint16_t index = 0) {
    Effect made{};
    made.kind = kind;
    made.name = std::move(name);
    made.sql = "PREPARE";
    made.statement_index = index;
    return made;
}

class ClientStatementsTest : public testing::Test {
protected:
    ClientStatements::Sent parse(std::string_view name, Ledger& on) {
        return client.parse(name, parse_message(name), statement(), on);
    }
    void complete(const ClientStatements::Sent& sent, Ledger& on) {
        client.completed(sent.of_client);
        on.completed(sent.on_server);
    }
    void end_request(Ledger& on) {
        const auto sent = client.send(MessageKind::sync, nullptr, on);
        client.skipped(sent.of_client);
        client.commit();
        on.skipped(sent.on_server);
    }
    void have(std::string_view name, Ledger& on) {
        complete(parse(name, on), on);
        end_request(on);
    }

    ClientStatements client;
    Ledger primary;
    Ledger replica;
};

TEST_F(ClientStatementsTest, FindWhatWasParsed) {
    const auto of = statement();
    const auto message = parse_message("s1");
    client.parse("s1", message, of, replica);
    const auto found = client.find("s1");
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->name, "s1");
    EXPECT_EQ(found->definition, message);
    EXPECT_EQ(found->statement, of);
    EXPECT_FALSE(found->in_sql);
    EXPECT_FALSE(client.is_certain("s1"));
    EXPECT_EQ(client.find("s2"), nullptr);
    EXPECT_EQ(client.find(""), nullptr);
}

TEST_F(ClientStatementsTest, AreLackedByTheOtherConnectionAlone) {
    have("s1", replica);
    EXPECT_TRUE(client.is_certain("s1"));
    EXPECT_EQ(client.needed("s1", replica).lack, Lack::nothing);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::parse);
    EXPECT_EQ(client.lack_of_any("s1", primary), Lack::parse);
    EXPECT_EQ(client.lack_of_any("s1", replica), Lack::nothing);
}

TEST_F(ClientStatementsTest, AreNotMistakenForOlderOnesOfTheirName) {
    have("s1", primary);
    complete(client.close("s1", replica), replica);
    have("s1", replica);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::close_and_parse);
}

TEST_F(ClientStatementsTest, AreClosedWhereTheClientHasNone) {
    have("s1", primary);
    complete(client.close("s1", replica), replica);
    end_request(replica);
    EXPECT_EQ(client.find("s1"), nullptr);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::close);
    EXPECT_EQ(client.lack_of_any("s1", primary), Lack::close);
    EXPECT_EQ(client.needed("s1", replica).lack, Lack::nothing);
}

TEST_F(ClientStatementsTest, LeaveItToTheConnectionWhereTheyAreNotCertain) {
    have("s1", replica);
    client.close("s1", replica);
    client.send(MessageKind::sync, nullptr, replica);
    EXPECT_EQ(client.needed("s1", replica).lack, Lack::nothing);
    EXPECT_EQ(client.lack_of_any("s1", replica), Lack::nothing);
}

TEST_F(ClientStatementsTest, AreAsBeforeWhenARequestRunsElsewhere) {
    have("s1", replica);
    const auto closed = client.close("s1", replica);
    const auto parsed = parse("s1", replica);
    complete(closed, replica);
    complete(parsed, replica);
    const auto before = client.find("s1");
    client.withdraw();
    ASSERT_NE(client.find("s1"), nullptr);
    EXPECT_NE(client.find("s1"), before);
    EXPECT_TRUE(client.is_certain("s1"));
    // The replica has the other one.
    EXPECT_EQ(client.needed("s1", replica).lack, Lack::close_and_parse);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::parse);
}

TEST_F(ClientStatementsTest, FailWithARequestOfWhichTheServerIsLost) {
    have("", replica);
    const auto parsed = parse("s1", primary);
    parse("", primary);
    const auto last = client.send(MessageKind::sync, nullptr, primary);
    client.completed(parsed.of_client);
    client.fail_up_to(last.of_client);
    client.commit();
    EXPECT_NE(client.find("s1"), nullptr);
    EXPECT_EQ(client.find(""), nullptr);
    EXPECT_TRUE(client.is_certain(""));
}

TEST_F(ClientStatementsTest, ArePreparedInSql) {
    auto made = std::make_shared<routing::CachedStatement>();
    made->statement.effects = {effect(Effect::Kind::prepare, "s1")};
    made->statement.prepares = statement();
    complete(client.send(MessageKind::query, made, primary), primary);
    const auto found = client.find("s1");
    ASSERT_NE(found, nullptr);
    EXPECT_TRUE(found->in_sql);
    EXPECT_EQ(found->statement, made->statement.prepares);
    wire::Buffer query;
    wire::encode_query(query, "PREPARE");
    EXPECT_EQ(found->definition, query);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::nothing);
}

TEST_F(ClientStatementsTest, AreKeptApartWhereOneTextPreparesSeveral) {
    const auto said =
        with({effect(Effect::Kind::prepare, "a", 0), effect(Effect::Kind::prepare, "b", 1),
              effect(Effect::Kind::deallocate, "a", 2)});
    const auto sent = client.send(MessageKind::query, said, primary);
    client.completed(sent.of_client, 1);
    ASSERT_NE(client.find("b"), nullptr);
    EXPECT_EQ(client.find("b")->name, "b");
    EXPECT_EQ(client.find("b")->statement, nullptr);
    EXPECT_EQ(client.find("a"), nullptr);
    client.failed(sent.of_client);
    EXPECT_EQ(client.find("a")->name, "a");
}

TEST_F(ClientStatementsTest, AreDeallocatedInSql) {
    have("a", primary);
    have("b", primary);
    complete(
        client.send(MessageKind::extended, with({effect(Effect::Kind::deallocate, "a")}), primary),
        primary);
    EXPECT_EQ(client.find("a"), nullptr);
    complete(client.send(MessageKind::extended, with({effect(Effect::Kind::discard_all)}), primary),
             primary);
    EXPECT_EQ(client.find("b"), nullptr);
    EXPECT_EQ(primary.lack_of_any("b"), Lack::parse);
    EXPECT_TRUE(client.is_complete());
}

TEST_F(ClientStatementsTest, StayWhereTheyAreIfTheyAreNotKept) {
    complete(client.parse("s1", {}, nullptr, primary), primary);
    EXPECT_EQ(client.needed("s1", primary).lack, Lack::nothing);
    EXPECT_EQ(client.needed("s1", replica).lack, Lack::nothing);  // so it is an error there
    have("s2", replica);
    complete(client.close("s2", primary), primary);
    complete(client.parse("s2", {}, nullptr, primary), primary);
    EXPECT_EQ(client.needed("s2", replica).lack, Lack::close);  // and no other statement
}

TEST_F(ClientStatementsTest, KeepNoMoreThanTheirBound) {
    constexpr std::size_t kHalf = ClientStatements::kMaxBytes / 2;
    const wire::Buffer large(kHalf);
    EXPECT_TRUE(client.may_keep(kHalf));
    complete(client.parse("a", large, nullptr, primary), primary);
    complete(client.parse("b", large, nullptr, primary), primary);
    end_request(primary);
    EXPECT_FALSE(client.may_keep(1));
    complete(client.parse("c", large, nullptr, primary), primary);
    EXPECT_TRUE(client.find("c")->definition.empty());
    complete(client.close("a", primary), primary);
    EXPECT_FALSE(client.may_keep(1));  // it may be needed until the request is over
    end_request(primary);
    EXPECT_TRUE(client.may_keep(kHalf));
}

// SQL's scanner cuts names between characters, and classify() with it.
TEST(NamesInSql, AreCutBetweenCharacters) {
    const std::string name(62, 'n');
    const auto said = routing::classify("PREPARE \"" + name + "\xe2\x82\xac\" AS SELECT 1");
    ASSERT_EQ(said.effects.size(), 1U);
    EXPECT_EQ(said.effects.front().name, name);
    const auto runs = routing::classify("EXECUTE " + name + "xyz");
    EXPECT_EQ(runs.executes, name + "x");
}

}  // namespace
}  // namespace pgsteer::proxy
