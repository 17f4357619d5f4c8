#include "routing/session_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace pgsteer::routing {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A session that has used both of its connections.
class SessionSettingsTest : public testing::Test {
protected:
    void set(std::string_view name, std::string_view sql) { set(name, sql, primary_); }
    void set(std::string_view name, std::string_view sql, SettingsApplied& on) {
        EXPECT_TRUE(settings_.set(on, name, sql));
    }
    void reset(std::string_view name, std::string_view sql) {
        EXPECT_TRUE(settings_.reset(primary_, name, sql));
    }
    // What a connection opened now would be given.
    std::vector<std::string_view> afresh() {
        replica_ = {};
        return settings_.pending(replica_);
    }
    SessionSettings settings_;
    SettingsApplied primary_;
    SettingsApplied replica_;
};

TEST_F(SessionSettingsTest, WhatIsSetOnOneConnectionIsPendingOnTheOther) {
    EXPECT_FALSE(settings_.is_pending(replica_));
    set("work_mem", "SET work_mem = 1");
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_TRUE(settings_.is_pending(replica_));
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("SET work_mem = 1"));
    settings_.applied(replica_);
    EXPECT_FALSE(settings_.is_pending(replica_));
    set("work_mem", "SET work_mem = 2", replica_);
    EXPECT_FALSE(settings_.is_pending(replica_));
    EXPECT_THAT(settings_.pending(primary_), ElementsAre("SET work_mem = 2"));
}

// --- names with a dot: '' where they were used once, unknown elsewhere

TEST_F(SessionSettingsTest, ACustomNameThatWasUsedIsMadeKnownElsewhere) {
    EXPECT_FALSE(settings_.has_custom());
    EXPECT_TRUE(settings_.used(primary_, "a.b"));
    EXPECT_TRUE(settings_.used(primary_, "a.b"));
    EXPECT_TRUE(settings_.used(primary_, "work_mem"));
    EXPECT_TRUE(settings_.used(primary_, "pgsteer.explain"));
    EXPECT_TRUE(settings_.has_custom());
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_THAT(afresh(), ElementsAre("RESET \"a\".\"b\""));
}

TEST_F(SessionSettingsTest, AValueMakesItKnownAsWell) {
    EXPECT_TRUE(settings_.used(primary_, "a.b"));
    set("a.b", "SET a.b = 1");
    EXPECT_THAT(afresh(), ElementsAre("SET a.b = 1"));
    EXPECT_TRUE(settings_.used(primary_, "a.b"));
    EXPECT_THAT(afresh(), ElementsAre("SET a.b = 1"));
    reset("a.b", "RESET a.b");
    EXPECT_THAT(afresh(), ElementsAre("RESET a.b")) << "also where nothing was ever set";
}

TEST_F(SessionSettingsTest, NothingMakesItUnknownAgain) {
    set("a.b", "SET a.b = 1");
    EXPECT_TRUE(settings_.reset_all(primary_, &replica_));
    EXPECT_THAT(afresh(), ElementsAre("RESET \"a\".\"b\"")) << "there is nothing to reset there";
    settings_.discard_all(primary_, &replica_);
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_THAT(afresh(), ElementsAre("RESET \"a\".\"b\""));
}

TEST_F(SessionSettingsTest, ANewConnectionNeedsAllOfThem) {
    set("a.x", "1");
    set("a.y", "2");
    settings_.applied(replica_);
    EXPECT_THAT(afresh(), ElementsAre("1", "2"));
    EXPECT_FALSE(settings_.is_pending(primary_));
}

TEST_F(SessionSettingsTest, TheLastOfAnyNameCounts) {
    set("a", "a1");
    set("b", "b1");
    set("a", "a2");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("b1", "a2"));
    reset("b", "RESET b");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("a2", "RESET b"));
    settings_.applied(replica_);
    reset("a", "RESET a");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("RESET a"));
    set("a", "a3");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("a3"));
}

TEST_F(SessionSettingsTest, NamesCompareAsPostgresComparesThem) {
    set("App.User", "1");
    set("app.USER", "2");
    EXPECT_THAT(afresh(), ElementsAre("2"));
    set("app.us\xc3\x84r", "3");
    set("app.us\xc3\xa4r", "4");  // letters beyond ASCII keep their case
    EXPECT_THAT(afresh(), ElementsAre("2", "3", "4"));
}

TEST_F(SessionSettingsTest, PartsOfDateStyleAddUp) {
    set("datestyle", "SET datestyle = 'SQL'");
    set("DateStyle", "SET datestyle = 'DMY'");
    set("datestyle", "SET datestyle = 'SQL'");
    EXPECT_THAT(afresh(), ElementsAre("SET datestyle = 'DMY'", "SET datestyle = 'SQL'"));
    settings_.applied(replica_);
    reset("datestyle", "RESET datestyle");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("RESET datestyle"));
}

TEST_F(SessionSettingsTest, ARoleStaysBeforeWhatWasSetUnderIt) {
    set("role", "SET ROLE admin");
    set("log_statement", "SET log_statement = 'all'");
    reset("role", "RESET ROLE");
    EXPECT_THAT(afresh(), ElementsAre("SET ROLE admin", "SET log_statement = 'all'", "RESET ROLE"));
    reset("log_statement", "RESET log_statement");
    EXPECT_THAT(afresh(), IsEmpty());
}

TEST_F(SessionSettingsTest, RolesThatGovernNothingLeave) {
    for (int i = 0; i < 10'000; ++i) {
        set("role", "SET ROLE r" + std::to_string(i));
        set("app.tenant", "SET app.tenant = " + std::to_string(i));
        reset("role", "RESET ROLE");
    }
    EXPECT_THAT(afresh(), ElementsAre("SET ROLE r9999", "SET app.tenant = 9999", "RESET ROLE"));
}

TEST_F(SessionSettingsTest, SessionAuthorizationEndsTheRole) {
    set("role", "SET ROLE a");
    set("session_authorization", "SET SESSION AUTHORIZATION b");
    EXPECT_THAT(afresh(), ElementsAre("SET SESSION AUTHORIZATION b"));
    set("role", "SET ROLE c");
    EXPECT_THAT(afresh(), ElementsAre("SET SESSION AUTHORIZATION b", "SET ROLE c"));
    set("session_authorization", "SET SESSION AUTHORIZATION d");
    EXPECT_THAT(afresh(), ElementsAre("SET SESSION AUTHORIZATION d"));
}

TEST_F(SessionSettingsTest, AnEncodingStaysBeforeTextThatIsReadInIt) {
    set("client_encoding", "SET client_encoding = LATIN1");
    set("a.ascii", "SET a.ascii = 'x'");
    set("client_encoding", "SET client_encoding = LATIN9");
    EXPECT_THAT(afresh(), ElementsAre("SET a.ascii = 'x'", "SET client_encoding = LATIN9"));
    set("a.text", "SET a.text = '\xfc'");
    set("client_encoding", "SET client_encoding = UTF8");
    EXPECT_THAT(afresh(), ElementsAre("SET a.ascii = 'x'", "SET client_encoding = LATIN9",
                                      "SET a.text = '\xfc'", "SET client_encoding = UTF8"));
}

TEST_F(SessionSettingsTest, ResetAllKeepsTheRole) {
    set("a", "a1");
    set("session_authorization", "SET SESSION AUTHORIZATION b");
    set("role", "SET ROLE c");
    settings_.applied(replica_);
    EXPECT_TRUE(settings_.reset_all(primary_, &replica_));
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("RESET ALL"));
    EXPECT_THAT(afresh(), ElementsAre("SET SESSION AUTHORIZATION b", "SET ROLE c", "RESET ALL"));
}

TEST_F(SessionSettingsTest, ResetAllOfNothingIsNothing) {
    EXPECT_TRUE(settings_.reset_all(primary_, &replica_));
    settings_.discard_all(primary_, &replica_);
    EXPECT_FALSE(settings_.is_pending(replica_));
    EXPECT_EQ(settings_.memory_bytes(), 0U);
}

TEST_F(SessionSettingsTest, DiscardAllResetsTheRoleToo) {
    set("a", "a1");
    set("role", "SET ROLE c");
    settings_.applied(replica_);
    settings_.discard_all(primary_, &replica_);
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_THAT(settings_.pending(replica_),
                ElementsAre("SET SESSION AUTHORIZATION DEFAULT", "RESET ALL"));
    settings_.applied(replica_);
    settings_.discard_all(primary_, &replica_);  // there is nothing that a second one would change
    EXPECT_FALSE(settings_.is_pending(replica_));
    EXPECT_THAT(afresh(), IsEmpty());
}

TEST_F(SessionSettingsTest, DiscardAllCleansItsConnectionWhateverWasPendingThere) {
    set("a", "a1", replica_);
    settings_.discard_all(primary_, &replica_);
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_TRUE(settings_.is_pending(replica_));
}

TEST_F(SessionSettingsTest, AConnectionOnWhichNothingWasSetNeedsNoReset) {
    set("a", "a1");
    EXPECT_TRUE(settings_.reset_all(primary_, &replica_));
    EXPECT_FALSE(settings_.is_pending(replica_));
    set("b", "b1");
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("b1"));
    settings_.applied(replica_);
    EXPECT_TRUE(settings_.reset_all(primary_, &replica_));
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("RESET ALL"));
}

TEST_F(SessionSettingsTest, ASettingMadeWhileOthersArePendingIsRepeatedBehindThem) {
    set("a", "a1", replica_);
    settings_.applied(primary_);
    EXPECT_TRUE(settings_.reset_all(replica_, &primary_));
    set("b", "b1", primary_);
    EXPECT_THAT(settings_.pending(primary_), ElementsAre("RESET ALL", "b1"));
}

TEST_F(SessionSettingsTest, CursorsAreClosedOnceOnTheirOwnConnection) {
    SessionSettings::close_cursors(replica_);
    EXPECT_FALSE(settings_.is_pending(primary_));
    EXPECT_THAT(settings_.pending(replica_), ElementsAre("CLOSE ALL"));
    settings_.applied(replica_);
    EXPECT_FALSE(settings_.is_pending(replica_));
    SessionSettings::close_cursors(replica_);
    EXPECT_THAT(afresh(), IsEmpty());
}

TEST_F(SessionSettingsTest, StopsGrowingAtItsLimit) {
    const std::string value(1000, 'x');
    int kept = 0;
    while (settings_.set(primary_, "a.s" + std::to_string(kept), value)) ++kept;
    EXPECT_GT(kept, 50);
    EXPECT_LE(settings_.memory_bytes(), SessionSettings::kMaxBytes);
    EXPECT_EQ(settings_.pending(replica_).size(), static_cast<std::size_t>(kept));
    EXPECT_FALSE(settings_.set(primary_, "a.huge", std::string(SessionSettings::kMaxBytes, 'x')));
}

TEST_F(SessionSettingsTest, CountsItsBytesBack) {
    set("a", "a1");
    const auto one = settings_.memory_bytes();
    for (int i = 0; i < 100; ++i) set("a", "a2");
    EXPECT_EQ(settings_.memory_bytes(), one);
}

// --- against a model of a server's connection ---

// Understands the few statements that the random test makes: "set NAME VALUE", "reset NAME", "RESET
// ALL". A name in capitals may only be set under role "admin"; dates come in two parts; "text" is
// written in the encoding of the moment, and means something else in another.
struct ModelConnection {
    std::map<std::string, std::string> values;
    bool refused = false;

    std::string value(const std::string& name) const {
        const auto found = values.find(name);
        return found == values.end() ? "" : found->second;
    }
    void run(std::string_view sql) {
        if (sql == "RESET ALL") {
            std::erase_if(values, [](const auto& v) {
                return v.first != "role" && v.first != "session_authorization";
            });
            return;
        }
        if (sql == "SET SESSION AUTHORIZATION DEFAULT") sql = "reset session_authorization";
        const std::string text{sql};
        const auto name_at = text.find(' ') + 1;
        const auto value_at = text.find(' ', name_at);
        const std::string name = text.substr(name_at, value_at - name_at);
        if (name == "session_authorization") values.erase("role");
        if (name == "SUPER" && value("role") != "admin") refused = true;
        if (value_at == std::string::npos) {
            values.erase(name);
            if (name == "datestyle") values.erase("datestyle.order");
            return;
        }
        std::string new_value = text.substr(value_at + 1);
        // Written by the client in its own encoding, so its meaning depends on that.
        if (new_value.find('\xfc') != std::string::npos) new_value += value("client_encoding");
        values[name == "datestyle" && new_value == "DMY" ? "datestyle.order" : name] = new_value;
    }
};

class SessionSettingsRandomly : public testing::TestWithParam<int> {};

TEST_P(SessionSettingsRandomly, BothConnectionsEndUpTheSame) {
    std::mt19937 random{static_cast<std::mt19937::result_type>(GetParam())};
    const auto any = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    const std::vector<std::string> names{
        "a", "b", "text", "SUPER", "role", "session_authorization", "client_encoding", "datestyle"};
    const std::map<std::string, std::vector<std::string>> possible{
        {"a", {"1", "2"}},
        {"b", {"1", "2"}},
        {"text", {"\xfc", "ascii"}},
        {"SUPER", {"1", "2"}},
        {"role", {"admin", "other"}},
        {"session_authorization", {"s", "t"}},
        {"client_encoding", {"LATIN1", "UTF8"}},
        {"datestyle", {"SQL", "DMY"}}};

    SessionSettings settings;
    std::array<ModelConnection, 2> servers;
    std::array<SettingsApplied, 2> applied;
    for (int step = 0; step < 400; ++step) {
        const std::size_t at = any(3) ? 0 : 1;
        auto& server = servers[at];
        auto& on = applied[at];
        if (any(20) == 0) {
            on = {};
            server = {};
        }
        for (const auto sql : settings.pending(on)) server.run(sql);
        settings.applied(on);
        const auto& first = servers[0].values;
        const auto& second = servers[1].values;
        if (!settings.is_pending(applied[0]) && !settings.is_pending(applied[1])) {
            ASSERT_EQ(first, second) << "step " << step;
        }
        ASSERT_FALSE(server.refused) << "step " << step;

        const auto& name = names[any(static_cast<unsigned>(names.size()))];
        if (name == "SUPER" && server.value("role") != "admin") continue;
        const auto dice = any(40);
        if (dice == 0) {
            ASSERT_TRUE(settings.reset_all(on, &applied[1 - at]));
            server.run("RESET ALL");
        } else if (dice == 1) {
            settings.discard_all(on, &applied[1 - at]);
            server.values.clear();
        } else if (dice < 10) {
            ASSERT_TRUE(settings.reset(on, name, "reset " + name));
            server.run("reset " + name);
        } else {
            const auto sql = "set " + name + " " + possible.at(name)[any(2)];
            ASSERT_TRUE(settings.set(on, name, sql));
            server.run(sql);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SessionSettingsRandomly, testing::Range(1, 101));

}  // namespace
}  // namespace pgsteer::routing
