// validate() for a configuration that was not made from YAML: from the command line, say.
#include "conf/validate.hpp"

#include "conf/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pgsteer::conf {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

Config sound() {
    Config config;
    config.servers.resize(2);
    config.servers[0].name = config.servers[0].host = "a";
    config.servers[1].name = config.servers[1].host = "b";
    config.databases.push_back({"*", {}, {}});
    config.auth.method = AuthMethod::trust;
    return config;
}

TEST(Validate, HasNothingToSayAboutASoundConfiguration) {
    EXPECT_THAT(validate(sound()), IsEmpty());
}

TEST(Validate, NamesTheKeyOfEachProblem) {
    Config config = sound();
    config.servers[1] = config.servers[0];
    config.servers[0].max_lag = 10min;
    config.listen.address.clear();
    EXPECT_THAT(validate(config),
                ElementsAre("listen.address: either address or unix_socket must be given",
                            "servers[1].name: 'a' is already the name of servers[0]",
                            "servers[0].max_lag: 10m must be less than max_lag_hard (5m)",
                            "servers[1].host: same host and port as servers[0]"));
}

TEST(Validate, RefusesAnEmptyConfiguration) {
    EXPECT_THAT(validate(Config{}),
                ElementsAre("servers: at least one server is required",
                            "auth.users: at least one user is required (only method trust goes "
                            "without)"));
}

TEST(Validate, RefusesEmptyNames) {
    Config config = sound();
    config.servers[0].name.clear();
    config.servers[1].host.clear();
    EXPECT_THAT(validate(config), ElementsAre("servers[0].name: must not be empty",
                                              "servers[1].host: must not be empty"));
}

TEST(Validate, LetsTrustGoWithoutSecretsButNotTheOthers) {
    Config config = sound();
    config.auth.users.push_back({"app", {}, {}});
    EXPECT_THAT(validate(config), IsEmpty());
    for (const AuthMethod method : {AuthMethod::scram_sha_256, AuthMethod::md5}) {
        config.auth.method = method;
        EXPECT_THAT(validate(config),
                    ElementsAre("auth.users[0]: one of password, password_file and verifier is "
                                "required"));
    }
}

TEST(Validate, AllowsTheLongestSocketPathAndNoLongerOne) {
    Config config = sound();
    config.listen.unix_socket = "/" + std::string(92, 'x');  // with /.s.PGSQL.6432: 107 bytes
    EXPECT_THAT(validate(config), IsEmpty());
    config.listen.unix_socket += 'x';
    EXPECT_THAT(validate(config),
                ElementsAre("listen.unix_socket: the socket's path would be 108 bytes long, the "
                            "system allows 107"));
}

TEST(Validate, LetsAPortServeTwiceOnlyOnDifferentAddresses) {
    Config config = sound();
    config.admin.port = config.listen.port;
    EXPECT_THAT(validate(config), ElementsAre("admin.port: 6432 is already the port of listen"));
    config.admin.address = "127.0.0.2";
    EXPECT_THAT(validate(config), IsEmpty());
    config.admin = {config.listen.address, 0};
    config.listen.port = 0;
    EXPECT_THAT(validate(config), IsEmpty());
}

const std::string kSalt = "W22ZaJ0SNY7soEsUEjb6gQ==";
const std::string kKey = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=";

struct VerifierCase {
    std::string text;
    std::string error;
};
void PrintTo(const VerifierCase& c, std::ostream* out) { *out << c.text; }
class Verifier : public testing::TestWithParam<VerifierCase> {};

TEST_P(Verifier, IsAcceptedOrSaysWhatIsWrong) {
    EXPECT_EQ(verifier_error(GetParam().text), GetParam().error);
}

const std::string kForm =
    "must have the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> as in "
    "pg_authid.rolpassword";
const std::string kIterations = "its iteration count is not a number above 0";
const std::string kBadSalt = "its salt is not base64";
const std::string kKeys = "its StoredKey and ServerKey must be 32 bytes each, in base64";

INSTANTIATE_TEST_SUITE_P(
    Scram,
    Verifier,
    testing::Values(
        VerifierCase{"SCRAM-SHA-256$4096:" + kSalt + "$" + kKey + ":" + kKey, ""},
        VerifierCase{"SCRAM-SHA-256$1:QQ==$" + kKey + ":" + kKey, ""},
        VerifierCase{"", kForm},
        VerifierCase{"md5d41d8cd98f00b204e9800998ecf8427e", kForm},
        VerifierCase{"scram-sha-256$4096:" + kSalt + "$" + kKey + ":" + kKey, kForm},
        VerifierCase{"SCRAM-SHA-256$", kIterations},
        VerifierCase{"SCRAM-SHA-256$0:" + kSalt + "$" + kKey + ":" + kKey, kIterations},
        VerifierCase{"SCRAM-SHA-256$2147483648:" + kSalt + "$" + kKey + ":" + kKey, kIterations},
        VerifierCase{"SCRAM-SHA-256$4096:$" + kKey + ":" + kKey, kBadSalt},
        VerifierCase{"SCRAM-SHA-256$4096:====$" + kKey + ":" + kKey, kBadSalt},
        VerifierCase{"SCRAM-SHA-256$4096:A!==$" + kKey + ":" + kKey, kBadSalt},
        VerifierCase{"SCRAM-SHA-256$4096:ABC$" + kKey + ":" + kKey, kBadSalt},
        VerifierCase{"SCRAM-SHA-256$4096:" + kSalt + "$" + kKey, kKeys},
        VerifierCase{"SCRAM-SHA-256$4096:" + kSalt + "$" + kKey + ":" + kSalt, kKeys},
        VerifierCase{"SCRAM-SHA-256$4096:" + kSalt + "$" + kKey + ":" + kKey + ":" + kKey, kKeys}));

}  // namespace
}  // namespace pgsteer::conf
