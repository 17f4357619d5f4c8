#include "proxy/auth/credentials.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy::auth {
namespace {

const ScramVerifier kStored = make_verifier("stored", "salt", 3);

conf::AuthConfig config() {
    conf::AuthConfig auth;
    auth.users.push_back({.name = "alice", .password = conf::Secret{"secret"}, .verifier = {}});
    auth.users.push_back(
        {.name = "bob", .password = {}, .verifier = conf::Secret{to_string(kStored)}});
    auth.users.push_back({.name = "carol", .password = {}, .verifier = {}});
    return auth;
}

bool logs_in(const Credentials::User& user, const std::string& password) {
    ScramServer server{user.verifier, user.known, "server"};
    ScramClient client = ScramClient::with_password(password, "client");
    const auto challenge = server.first(client.first());
    return static_cast<bool>(server.last(*client.last(*challenge)));
}

TEST(Credentials, KnowAUserByPassword) {
    const auto alice = Credentials{config()}.find("alice");
    EXPECT_TRUE(alice.known);
    EXPECT_EQ(alice.password, "secret");
    EXPECT_TRUE(logs_in(alice, "secret"));
    EXPECT_FALSE(logs_in(alice, "Secret"));
}

TEST(Credentials, KnowAUserByVerifier) {
    const auto bob = Credentials{config()}.find("bob");
    EXPECT_TRUE(bob.known);
    EXPECT_EQ(bob.password, "");
    EXPECT_EQ(to_string(bob.verifier), to_string(kStored));
    EXPECT_TRUE(logs_in(bob, "stored"));
}

TEST(Credentials, LetNobodyInWithoutPasswordAndVerifier) {
    const auto carol = Credentials{config()}.find("carol");
    EXPECT_TRUE(carol.known);
    EXPECT_FALSE(logs_in(carol, ""));
}

TEST(Credentials, MockUnknownUsersAlwaysTheSame) {
    const Credentials credentials{config()};
    const auto eve = credentials.find("eve");
    EXPECT_FALSE(eve.known);
    EXPECT_EQ(eve.password, "");
    EXPECT_EQ(eve.verifier.iterations, credentials.find("alice").verifier.iterations);
    EXPECT_EQ(eve.verifier.salt.size(), credentials.find("alice").verifier.salt.size());
    EXPECT_EQ(eve.verifier.salt, credentials.find("eve").verifier.salt);
    EXPECT_FALSE(logs_in(eve, ""));
}

TEST(Credentials, KeepAllSaltsOverAReload) {
    const Credentials before{config()}, after{config()};
    for (const char* user : {"alice", "bob", "eve"})
        EXPECT_EQ(before.find(user).verifier.salt, after.find(user).verifier.salt) << user;
}

TEST(Credentials, RememberTheKeysOfKnownUsersOnly) {
    Credentials credentials{config()};
    EXPECT_FALSE(credentials.learnt("bob"));
    const ScramKeys keys = derive_keys("stored", "salt", 3);
    credentials.learn("bob", keys);
    credentials.learn("eve", keys);
    ASSERT_TRUE(credentials.learnt("bob"));
    EXPECT_EQ(credentials.learnt("bob")->client_key, keys.client_key);
    EXPECT_FALSE(credentials.learnt("eve"));
    EXPECT_FALSE(credentials.learnt("alice"));
}

TEST(Credentials, InheritKeysThatStillFit) {
    Credentials before{config()};
    before.learn("bob", derive_keys("stored", "salt", 3));
    Credentials same{config()};
    same.inherit(before);
    EXPECT_TRUE(same.learnt("bob"));

    conf::AuthConfig changed = config();
    changed.users[1].verifier = conf::Secret{to_string(make_verifier("other", "salt", 3))};
    Credentials after{changed};
    after.inherit(before);
    EXPECT_FALSE(after.learnt("bob"));

    ScramVerifier other_server = kStored;
    other_server.server_key[0] ^= 1;
    changed.users[1].verifier = conf::Secret{to_string(other_server)};
    Credentials impostor{changed};
    impostor.inherit(before);
    EXPECT_FALSE(impostor.learnt("bob"));

    changed.users.clear();
    Credentials none{changed};
    none.inherit(before);
    EXPECT_FALSE(none.learnt("bob"));
}

TEST(Credentials, DeriveTheKeysOfEachPasswordSaltAndCount) {
    Credentials credentials{config()};
    const auto keys = [&](std::string_view password, std::string_view salt, std::uint32_t count) {
        return credentials.keys_for(password, salt, count).client_key;
    };
    for (int round = 0; round < 2; ++round) {  // computed, then remembered
        EXPECT_EQ(keys("secret", "salt", 2), derive_keys("secret", "salt", 2).client_key);
        EXPECT_EQ(keys("secret", "salt", 3), derive_keys("secret", "salt", 3).client_key);
        EXPECT_EQ(keys("tsecret", "sal", 2), derive_keys("tsecret", "sal", 2).client_key);
        EXPECT_EQ(keys("secret", "salts", 2), derive_keys("secret", "salts", 2).client_key);
    }
}

TEST(Credentials, StayRightWhenMoreKeysAreAskedForThanAreRemembered) {
    Credentials credentials{config()};
    for (int i = 0; i < 1100; ++i) {
        const std::string salt = "salt" + std::to_string(i);
        ASSERT_EQ(credentials.keys_for("pw", salt, 1).client_key,
                  derive_keys("pw", salt, 1).client_key);
    }
}

}  // namespace
}  // namespace pgsteer::proxy::auth
