#include "routing/kept_functions.hpp"

#include <gtest/gtest.h>

namespace pgsteer::routing {
namespace {

using What = Kept::What;

class KeptFunctionsOf : public testing::Test {
protected:
    void body(std::string schema, std::string name, std::string_view text) {
        facts_.bodies.push_back({std::move(schema), std::move(name), false, read_body(text)});
    }
    [[nodiscard]] What of(const std::string& schema, const std::string& name) const {
        return KeptFunctions{facts_, overrides_}.of(schema, name);
    }
    CatalogFacts facts_;
    FunctionOverrides overrides_;
};

TEST_F(KeptFunctionsOf, FollowsCallsHoweverDeep) {
    body("app", "f0", "SELECT set_config('a.b', 'x', true)");
    for (int i = 1; i <= 1000; ++i)
        body("app", "f" + std::to_string(i), "SELECT f" + std::to_string(i - 1) + "()");
    EXPECT_EQ(of("app", "f1000"), What::names);
    EXPECT_EQ(of("app", "f1001"), What::nothing);
}

TEST_F(KeptFunctionsOf, EndsWhereFunctionsCallEachOther) {
    body("app", "a", "SELECT b(), a()");
    body("app", "b", "SELECT a(), c(), setting()");
    body("app", "c", "SELECT a(), setseed(0.5)");
    body("app", "setting", "SELECT set_config('a.b', 'x', false)");
    for (const char* name : {"a", "b", "c"}) EXPECT_EQ(of("app", name), What::state) << name;
    EXPECT_EQ(of("app", "setting"), What::settings);
}

TEST_F(KeptFunctionsOf, TakesOverloadsForOneAndSchemasWhereTheyAreNamed) {
    body("app", "f", "SELECT 1");
    body("app", "f", "SELECT setseed($1)");
    body("other", "f", "SELECT 1");
    body("app", "of_app", "SELECT App.F(1)");
    body("app", "of_other", "SELECT other.f(1)");
    body("app", "of_any", "SELECT f(1)");
    EXPECT_EQ(of("app", "f"), What::state);
    EXPECT_EQ(of("app", "of_app"), What::state);
    EXPECT_EQ(of("app", "of_other"), What::nothing);
    EXPECT_EQ(of("app", "of_any"), What::state);
}

TEST_F(KeptFunctionsOf, KnowsMembersOfExtensionsAndQuotedNames) {
    facts_.functions = {{"dbms", "put", true, false, "orafce"}, {"app", "put", true, false, ""}};
    body("app", "Says it", "SELECT dbms.put('x')");
    body("app", "own", "SELECT app.put('x')");
    body("app", "outer", "SELECT app.\"Says it\"()");
    EXPECT_EQ(of("app", "Says it"), What::state);
    EXPECT_EQ(of("app", "outer"), What::state);
    EXPECT_EQ(of("app", "own"), What::nothing);
}

TEST_F(KeptFunctionsOf, FollowsWritesAndAggregates) {
    facts_.written = {{"app", "audited", What::settings}};
    facts_.aggregates = {{"app", "total", {"app", "step"}}};
    body("app", "writer", "BEGIN INSERT INTO audited VALUES (1); END");
    body("app", "elsewhere", "BEGIN INSERT INTO x.audited VALUES (1); END");
    body("app", "step", "SELECT app.writer()");
    EXPECT_EQ(of("app", "writer"), What::settings);
    EXPECT_EQ(of("app", "elsewhere"), What::nothing);
    EXPECT_EQ(of("app", "total"), What::settings);
}

TEST_F(KeptFunctionsOf, BelievesTheConfiguration) {
    overrides_ = FunctionOverrides{{"app.known"}, {}};
    body("app", "known", "SELECT setseed(0.5)");
    body("app", "outer", "SELECT known()");
    EXPECT_EQ(of("app", "known"), What::nothing);
    EXPECT_EQ(of("app", "outer"), What::nothing);
}

}  // namespace
}  // namespace pgsteer::routing
