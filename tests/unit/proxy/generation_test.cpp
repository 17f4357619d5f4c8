#include "proxy/shared/generation.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace pgsteer::proxy {
namespace {

using routing::ServerId;
using testing::ElementsAre;

std::shared_ptr<conf::Config> config_of(const std::vector<std::string>& servers, int pool_size) {
    auto config = std::make_shared<conf::Config>();
    for (const auto& name : servers) {
        auto& server = config->servers.emplace_back();
        server.name = name;
        server.host = name + ".example";
    }
    config->pool.size = pool_size;
    return config;
}

void add_user(conf::Config& config, const std::string& name, const std::string& password) {
    auto& user = config.auth.users.emplace_back();
    user.name = name;
    user.password = conf::Secret{password};
}

TEST(Generation, OfTheFirstConfigurationIsCurrent) {
    const auto config = config_of({"a", "b"}, 3);
    const Generations generations{config};
    const auto first = generations.current();
    EXPECT_EQ(first->number, 1U);
    EXPECT_EQ(first->config, config);
    EXPECT_THAT(first->servers.ids(), ElementsAre(ServerId{0}, ServerId{1}));
}

TEST(Generation, LivesAsLongAsASessionHoldsItBesideItsSuccessors) {
    auto before = config_of({"a", "b"}, 2);
    add_user(*before, "ann", "secret");
    Generations generations{before};
    auto session = generations.current();

    auto after = config_of({"c", "a"}, 4);
    add_user(*after, "bob", "other");
    generations.publish(generations.prepare(after));
    const auto newcomer = generations.current();

    EXPECT_EQ(newcomer->number, 2U);
    EXPECT_EQ(session->config->pool.size, 2);
    EXPECT_EQ(newcomer->config->pool.size, 4);
    EXPECT_TRUE(session->credentials->find("ann").known);
    EXPECT_FALSE(newcomer->credentials->find("ann").known);
    EXPECT_TRUE(newcomer->credentials->find("bob").known);
    EXPECT_THAT(session->servers.ids(), ElementsAre(ServerId{0}, ServerId{1}));
    EXPECT_THAT(newcomer->servers.ids(), ElementsAre(ServerId{2}, ServerId{0}));
    EXPECT_EQ(session->servers[ServerId{1}].name, "b");
    EXPECT_FALSE(newcomer->servers.contains(ServerId{1}));

    const std::weak_ptr<const Generation> former = session;
    session.reset();
    EXPECT_TRUE(former.expired()) << "it ends with its last session";
}

TEST(Generation, IsNobodysBeforeItIsPublished) {
    Generations generations{config_of({"a"}, 2)};
    const auto next = generations.prepare(config_of({"a"}, 5));
    EXPECT_EQ(generations.current()->number, 1U);
    const auto budget = next->budgets->of({ServerId{0}, "app", "ann"});
    EXPECT_TRUE(budget->try_take());
    EXPECT_TRUE(budget->try_take());
    EXPECT_FALSE(budget->try_take()) << "the limit is the current one";
}

TEST(Generation, SharesBudgetsWithThoseBeforeIt) {
    Generations generations{config_of({"a"}, 2)};
    const auto first = generations.current();
    const BudgetKey key{ServerId{0}, "app", "ann"};
    const auto held = first->budgets->of(key);
    ASSERT_TRUE(held->try_take());
    ASSERT_TRUE(held->try_take());

    generations.publish(generations.prepare(config_of({"a"}, 3)));
    EXPECT_EQ(generations.current()->budgets->of(key)->used(), 2);
    EXPECT_TRUE(held->try_take()) << "the limit has grown for all";

    generations.publish(generations.prepare(config_of({"a"}, 1)));
    EXPECT_TRUE(held->is_spent());
    held->give_back();
    held->give_back();
    EXPECT_FALSE(held->try_take());
    held->give_back();
    EXPECT_TRUE(held->try_take());
    EXPECT_FALSE(generations.current()->budgets->of({ServerId{0}, "new", "ann"})->is_spent());
}

TEST(Generation, KeepsTheKeysThatStillFit) {
    auto config = config_of({"a"}, 1);
    add_user(*config, "ann", "secret");
    Generations generations{config};
    const auto first = generations.current();
    const auto keys = first->credentials->keys_for("secret", "salt", 4096);
    const auto next = generations.prepare(std::make_shared<conf::Config>(*config));
    EXPECT_EQ(next->credentials->find("ann").known, true);
    EXPECT_EQ(next->credentials->keys_for("secret", "salt", 4096).client_key, keys.client_key);
}

TEST(Generation, CannotBeOfMoreServersThanAProcessCanKnow) {
    Generations generations{config_of({"a"}, 1)};
    std::vector<std::string> many;
    for (std::size_t i = 0; i < health::ServerIds::kMost; ++i)
        many.push_back("s" + std::to_string(i));
    EXPECT_EQ(generations.prepare(config_of(many, 1)), nullptr);
    EXPECT_EQ(generations.current()->number, 1U);
    many.pop_back();
    EXPECT_NE(generations.prepare(config_of(many, 1)), nullptr);
    many.emplace_back("x");
    many.emplace_back("y");
    EXPECT_THROW(Generations{config_of(many, 1)}, std::invalid_argument);
}

}  // namespace
}  // namespace pgsteer::proxy
