// Which catalog a session is judged by, and when it has none.
#include "proxy/session/catalog_view.hpp"

#include "proxy/session/batch_facts.hpp"
#include "proxy/wire/message_types.hpp"
#include "routing/classify.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

using routing::CatalogChange;
using routing::Reason;
using Path = routing::SessionState::SearchPathSetting;

class SessionCatalogTest : public testing::Test {
protected:
    void SetUp() override { catalog_.start(store_, "joe", std::nullopt, false); }

    void publish(std::vector<routing::CatalogFacts::Setting> settings = {}) {
        routing::CatalogFacts facts;
        facts.default_search_path = "\"$user\", public";
        facts.default_isolation = "read committed";
        facts.settings = std::move(settings);
        auto next =
            routing::build_catalog(facts, std::make_shared<const routing::FunctionOverrides>());
        next->set_epoch(++epoch_);
        store_->publish(std::move(next));
    }
    const routing::CatalogView& view(const Path& path = {}, bool unsure = false) {
        catalog_.update(path, unsure, [this](const auto&) { return ++numbers_; });
        return catalog_.view();
    }
    using Schemas = std::vector<std::string>;

    int wakes_ = 0;
    std::shared_ptr<health::CatalogStore> store_ =
        std::make_shared<health::CatalogStore>("app", [this] { ++wakes_; });
    SessionCatalog catalog_;
    std::uint64_t epoch_ = 0;
    std::uint64_t numbers_ = 0;
};

TEST_F(SessionCatalogTest, IsTheLatestThatWasPublished) {
    EXPECT_EQ(view().catalog, nullptr);
    publish();
    ASSERT_NE(view().catalog, nullptr);
    EXPECT_EQ(view().catalog->epoch(), 1U);
    publish();
    EXPECT_EQ(view().catalog->epoch(), 2U);
}

TEST_F(SessionCatalogTest, ANameThatItLacksIsAskedAboutAtOnceAndThenRarely) {
    publish();
    catalog_.does_not_know("app.t");
    EXPECT_EQ(store_->asked(), 1U);
    EXPECT_FALSE(store_->is_wanted());
    catalog_.does_not_know("app.t");
    EXPECT_EQ(store_->asked(), 1U);
    EXPECT_TRUE(store_->is_wanted());
    catalog_.does_not_know("app.u");
    EXPECT_EQ(store_->asked(), 2U);
    publish();
    catalog_.does_not_know("app.t");
    EXPECT_EQ(store_->asked(), 3U);
    for (int i = 0; i < 1000; ++i) catalog_.does_not_know(std::to_string(i));
    EXPECT_LT(store_->asked(), 300U);
}

TEST_F(SessionCatalogTest, IsNumberedAnewOnlyWhenItChanges) {
    publish();
    view();
    view();
    EXPECT_EQ(numbers_, 1U);
    view({Path::Kind::value, "app", false});
    view({Path::Kind::value, "app", false});
    EXPECT_EQ(numbers_, 2U);
    publish();
    view({Path::Kind::value, "app", false});
    EXPECT_EQ(numbers_, 3U);
}

TEST_F(SessionCatalogTest, HasTheSearchPathOfTheSession) {
    publish();
    EXPECT_EQ(view().search_path.schemas, (Schemas{"joe", "public"}));
    EXPECT_EQ(view({Path::Kind::value, "App, \"B\"", false}).search_path.schemas,
              (Schemas{"app", "B"}));
    EXPECT_FALSE(view({Path::Kind::unknown, "", false}).search_path.is_known);
    EXPECT_FALSE(view({Path::Kind::session_default, "", true}).search_path.is_known) << "SET ROLE";
    EXPECT_TRUE(view({Path::Kind::value, "a", true}).search_path.is_known);
    publish({{"joe", true, "search_path", "x"}});
    EXPECT_EQ(view().search_path.schemas, Schemas{"x"});
    catalog_.start(store_, "joe", "y", false);
    publish({{"joe", true, "search_path", "x"}});
    EXPECT_EQ(view().search_path.schemas, Schemas{"y"}) << "of the startup packet";
}

TEST_F(SessionCatalogTest, IsHiddenAfterDdlUntilItWasLookedAtAgain) {
    publish();
    catalog_.may_have_changed(CatalogChange::certain);
    EXPECT_NE(view().catalog, nullptr) << "the transaction is open: it stays where it is";
    EXPECT_EQ(wakes_, 0);
    catalog_.transaction_ended();
    EXPECT_EQ(view().catalog, nullptr);
    EXPECT_EQ(wakes_, 1);
    catalog_.transaction_ended();
    EXPECT_EQ(wakes_, 1) << "nothing new";
    store_->looked(store_->asked());
    EXPECT_NE(view().catalog, nullptr);
}

TEST_F(SessionCatalogTest, IsKeptWhereAChangeIsMerelyPossible) {
    publish();
    catalog_.may_have_changed(CatalogChange::possible);
    catalog_.transaction_ended();
    EXPECT_NE(view().catalog, nullptr);
    EXPECT_TRUE(store_->is_wanted());
    EXPECT_EQ(wakes_, 1);
    catalog_.was_wrong();
    EXPECT_EQ(wakes_, 1) << "wanted already";
    store_->begins();
    catalog_.was_wrong();
    EXPECT_EQ(wakes_, 2);
}

TEST_F(SessionCatalogTest, IsHiddenWhileNamesMayChange) {
    publish();
    EXPECT_EQ(view({}, true).catalog, nullptr);
    EXPECT_NE(view({}, false).catalog, nullptr);
}

// What a batch of one Query is judged to be.
struct Judgement {
    Reason reason;
    bool changes_names;
};
Judgement judge_query(const char* sql, const routing::CatalogView& view) {
    Batch batch;
    batch.items.push_back({.type = wire::frontend::kQuery});
    batch.items.front().statement = std::make_shared<const routing::CachedStatement>(
        routing::CachedStatement{routing::classify(sql)});
    routing::JudgedStatements shared;
    ClientStatements statements;
    const auto facts = facts_of(batch, {}, {statements, {}, {1, view, shared}, true, false, 1'000});
    return {facts.statement->statement.reason, facts.changes_names};
}

TEST(CatalogJudge, JudgesReadsAndNotesWhatChangesNames) {
    const auto catalog =
        routing::build_catalog({}, std::make_shared<const routing::FunctionOverrides>());
    const routing::CatalogView view{catalog.get(), {}, false};
    EXPECT_EQ(judge_query("SELECT 1", view).reason, Reason::fresh_replica);
    EXPECT_EQ(judge_query("SELECT 1", {}).reason, Reason::catalog_unknown);
    EXPECT_EQ(judge_query("DELETE FROM t", {}).reason, Reason::write);
    EXPECT_EQ(judge_query("SELECT f()", view).reason, Reason::unknown_function);
    for (const char* sql : {"SET search_path TO a", "SET ROLE joe", "RESET ALL", "DISCARD ALL",
                            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"})
        EXPECT_TRUE(judge_query(sql, view).changes_names) << sql;
    for (const char* sql : {"SELECT 1", "DELETE FROM t", "BEGIN READ ONLY", "COMMIT", "LISTEN a"})
        EXPECT_FALSE(judge_query(sql, view).changes_names) << sql;
}

}  // namespace
}  // namespace pgsteer::proxy
