#include "proxy/auth/scram.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy::auth {
namespace {

using namespace std::string_view_literals;

// The example of RFC 7677, section 3: user "user", password "pencil".
constexpr auto kClientNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr auto kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr auto kClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr auto kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr auto kWithoutProof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr auto kProof = ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr auto kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

ScramVerifier verifier_of_the_example() {
    return make_verifier("pencil", *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
}
ScramServer server_of_the_example() { return {verifier_of_the_example(), true, kServerNonce}; }
std::string final_of_the_example() { return std::string{kWithoutProof} + kProof; }

// Few iterations: what is tested below does not depend on their number.
ScramVerifier verifier_for(std::string_view password) { return make_verifier(password, "salt", 2); }

// Runs a whole login; the error is that of the side that noticed first.
error_code log_in(ScramClient client, ScramServer& server) {
    const auto challenge = server.first(client.first());
    if (!challenge) return challenge.error();
    const auto response = client.last(*challenge);
    if (!response) return response.error();
    const auto outcome = server.last(*response);
    if (!outcome) return outcome.error();
    return client.verify(*outcome);
}

TEST(ScramServer, PlaysTheExampleOfTheRfc) {
    ScramServer server = server_of_the_example();
    const auto first = server.first(kClientFirst);
    ASSERT_TRUE(first);
    EXPECT_EQ(*first, kServerFirst);
    const auto last = server.last(final_of_the_example());
    ASSERT_TRUE(last);
    EXPECT_EQ(*last, kServerFinal);
}

// The example names the user and our client does not, so its proof cannot be that of the RFC; the
// messages' form and the nonces are compared instead, and a server that plays the RFC accepts them.
TEST(ScramClient, SpeaksAsLibpqDoes) {
    ScramClient client = ScramClient::with_password("pencil", kClientNonce);
    EXPECT_EQ(client.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    const auto last = client.last(kServerFirst);
    ASSERT_TRUE(last);
    EXPECT_TRUE(last->starts_with(std::string{kWithoutProof} + ",p=")) << *last;
    EXPECT_EQ(last->size(), final_of_the_example().size());
}

TEST(Scram, LogsInWithThePassword) {
    ScramServer server{verifier_for("secret"), true, random_nonce()};
    EXPECT_FALSE(log_in(ScramClient::with_password("secret", random_nonce()), server));
    EXPECT_EQ(stored_key(server.client_key()), verifier_for("secret").stored_key);
}

TEST(Scram, RefusesAnotherPassword) {
    ScramServer server{verifier_for("secret"), true, random_nonce()};
    EXPECT_EQ(log_in(ScramClient::with_password("Secret", random_nonce()), server),
              ProxyErrc::authentication_failed);
    EXPECT_EQ(server.client_key(), Digest{});
}

TEST(Scram, RefusesAnUnknownUserWhateverTheVerifierSays) {
    ScramServer server{verifier_for("secret"), false, random_nonce()};
    EXPECT_EQ(log_in(ScramClient::with_password("secret", random_nonce()), server),
              ProxyErrc::authentication_failed);
    EXPECT_EQ(server.client_key(), Digest{});
}

TEST(Scram, KeysLearntAtALoginOpenServersWithTheSameVerifier) {
    const ScramVerifier verifier = verifier_for("secret");
    ScramServer ours{verifier, true, random_nonce()};
    ASSERT_FALSE(log_in(ScramClient::with_password("secret", random_nonce()), ours));

    const ScramClient::Fixed learnt{
        verifier, {.client_key = ours.client_key(), .server_key = verifier.server_key}};
    ScramServer theirs{verifier, true, random_nonce()};
    EXPECT_FALSE(log_in(ScramClient::with_keys(learnt, random_nonce()), theirs));
}

TEST(Scram, LearntKeysAreNotTriedOnAnotherVerifier) {
    const ScramVerifier verifier = verifier_for("secret");
    const ScramClient::Fixed learnt{verifier, derive_keys("secret", "salt", 2)};
    ScramServer other_salt{make_verifier("secret", "tlas", 2), true, random_nonce()};
    EXPECT_EQ(log_in(ScramClient::with_keys(learnt, random_nonce()), other_salt),
              ProxyErrc::server_login_failed);
    ScramServer other_iterations{make_verifier("secret", "salt", 3), true, random_nonce()};
    EXPECT_EQ(log_in(ScramClient::with_keys(learnt, random_nonce()), other_iterations),
              ProxyErrc::server_login_failed);
}

TEST(Scram, AsksTheKeySourceOnceTheSaltIsKnown) {
    std::string asked;
    ScramClient client = ScramClient::with_key_source(
        [&](std::string_view salt, std::uint32_t iterations) {
            asked = std::string{salt} + ":" + std::to_string(iterations);
            return derive_keys("secret", salt, iterations);
        },
        random_nonce());
    ScramServer server{verifier_for("secret"), true, random_nonce()};
    EXPECT_FALSE(log_in(std::move(client), server));
    EXPECT_EQ(asked, "salt:2");
}

class BadClientFirst : public testing::TestWithParam<std::string_view> {};

TEST_P(BadClientFirst, IsAProtocolViolation) {
    const auto first = server_of_the_example().first(GetParam());
    ASSERT_FALSE(first) << *first;
    EXPECT_EQ(first.error(), ProxyErrc::protocol_violation);
}

INSTANTIATE_TEST_SUITE_P(Table,
                         BadClientFirst,
                         testing::Values(""sv,
                                         "n"sv,
                                         "n,"sv,
                                         "n,,"sv,
                                         "n,,n="sv,
                                         "n,,n=,"sv,
                                         "n,,n=,r"sv,
                                         "n,,n=,r="sv,      // a nonce of no characters
                                         "n,,r=abc,n="sv,   // wrong order
                                         "n,,n=,r=abc,"sv,  // ends in a comma
                                         "n,,n=,r=a b"sv,   // not printable
                                         "n,,n=,r=ab\x7F"sv,
                                         "n,,n=,r=ab\xC3\xA4"sv,
                                         "n,,n=,r=ab\0"sv,
                                         "n,,n=,r=ab,1=x"sv,
                                         "n,,m=x,n=,r=abc"sv,   // mandatory extension
                                         "n,a=bob,n=,r=abc"sv,  // authorization identity
                                         "p=tls-server-end-point,,n=,r=abc"sv,
                                         "x,,n=,r=abc"sv,
                                         "nn=,r=abc"sv));

TEST(ScramServer, RejectsAMessageOverTheLimit) {
    const std::string at_limit = "n,,n=,r=" + std::string(kMaxScramMessageBytes - 5, 'x');
    EXPECT_TRUE(server_of_the_example().first(at_limit));
    EXPECT_FALSE(server_of_the_example().first(at_limit + "x"));
}

TEST(ScramServer, AcceptsWhatPostgresAccepts) {
    for (const auto first : {"n,,n=,r=abc"sv, "y,,n=,r=abc"sv, "n,,n=a=2Cb,r=abc,x=,Y=z"sv})
        EXPECT_TRUE(server_of_the_example().first(first)) << first;
}

TEST(ScramServer, WantsTheChannelBindingFlagRepeated) {
    for (const auto& [flag, repeated] : {std::pair{'n', "biws"}, std::pair{'y', "eSws"}}) {
        for (const std::string binding : {"biws", "eSws", "cD1y", "", "biw"}) {
            ScramServer server = server_of_the_example();
            ASSERT_TRUE(server.first(std::string{flag} + ",,n=,r=abc"));
            const auto last = server.last("c=" + binding + ",r=abc" + kServerNonce + kProof);
            // A proof for another conversation: past the form, it must be found wrong.
            EXPECT_EQ(last.error(), binding == repeated ? ProxyErrc::authentication_failed
                                                        : ProxyErrc::protocol_violation)
                << flag << " " << binding;
        }
    }
}

TEST(ScramServer, RejectsEveryPrefixOfTheFinalMessage) {
    const std::string whole = final_of_the_example();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        ScramServer server = server_of_the_example();
        ASSERT_TRUE(server.first(kClientFirst));
        EXPECT_EQ(server.last(whole.substr(0, size)).error(), ProxyErrc::protocol_violation)
            << size;
    }
}

TEST(ScramServer, RejectsEveryChangeOfOneByteInTheFinalMessage) {
    const std::string whole = final_of_the_example();
    for (std::size_t at = 0; at < whole.size(); ++at) {
        ScramServer server = server_of_the_example();
        ASSERT_TRUE(server.first(kClientFirst));
        std::string changed = whole;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        EXPECT_FALSE(server.last(changed)) << changed;
    }
}

class BadClientFinal : public testing::TestWithParam<std::string> {};

TEST_P(BadClientFinal, IsAProtocolViolation) {
    ScramServer server = server_of_the_example();
    ASSERT_TRUE(server.first(kClientFirst));
    EXPECT_EQ(server.last(GetParam()).error(), ProxyErrc::protocol_violation);
}

INSTANTIATE_TEST_SUITE_P(
    Table,
    BadClientFinal,
    testing::Values(std::string{kWithoutProof},
                    std::string{kWithoutProof} + ",p=",
                    std::string{kWithoutProof} + ",p=AAAA",
                    std::string{kWithoutProof} + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
                    std::string{kWithoutProof} + kProof + ",x=y",
                    std::string{kWithoutProof} + kProof + kProof,
                    std::string{kWithoutProof} + kProof + ",",
                    std::string{kWithoutProof} + kProof + '\0',
                    "r=" + std::string{kClientNonce} + kServerNonce + ",c=biws" + kProof,
                    "c=biws,r=" + std::string{kServerNonce} + kProof));

TEST(ScramServer, CountsExtensionsBeforeTheProofAsPartOfTheMessage) {
    ScramServer server = server_of_the_example();
    ASSERT_TRUE(server.first(kClientFirst));
    // Well formed, but the proof was not made for it.
    EXPECT_EQ(server.last(std::string{kWithoutProof} + ",x=y" + kProof).error(),
              ProxyErrc::authentication_failed);
}

TEST(ScramServer, TakesItsMessagesInOrder) {
    ScramServer server = server_of_the_example();
    EXPECT_EQ(server.last(final_of_the_example()).error(), ProxyErrc::protocol_violation);
    ASSERT_TRUE(server.first(kClientFirst));
    EXPECT_EQ(server.first(kClientFirst).error(), ProxyErrc::protocol_violation);
    EXPECT_TRUE(server.last(final_of_the_example()));
}

struct BadChallenge {
    std::string_view text;
    ProxyErrc error;
};

class BadServerFirst : public testing::TestWithParam<BadChallenge> {};

TEST_P(BadServerFirst, IsRejected) {
    ScramClient client = ScramClient::with_password("secret", "abc");
    client.first();
    const auto last = client.last(GetParam().text);
    ASSERT_FALSE(last) << GetParam().text;
    EXPECT_EQ(last.error(), GetParam().error) << GetParam().text;
}

constexpr auto kMalformed = ProxyErrc::server_protocol;
INSTANTIATE_TEST_SUITE_P(
    Table,
    BadServerFirst,
    testing::Values(BadChallenge{"", kMalformed},
                    BadChallenge{"r=abcd", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=0", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=-1", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=2x", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=99999999999", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=2,x=y", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA=,i=2", kMalformed},
                    BadChallenge{"r=abcd,s=,i=2", kMalformed},
                    BadChallenge{"r=abc,s=c2FsdA==,i=2", kMalformed},  // adds no nonce
                    BadChallenge{"r=xbcd,s=c2FsdA==,i=2", kMalformed},
                    BadChallenge{"e=other-error", kMalformed},
                    BadChallenge{"m=x,r=abcd,s=c2FsdA==,i=2", kMalformed},
                    BadChallenge{"r=abcd,s=c2FsdA==,i=1000001", ProxyErrc::server_login_failed}));

TEST(ScramClient, AcceptsNoServerThatDoesNotKnowTheVerifier) {
    ScramClient client = ScramClient::with_password("secret", "abc");
    client.first();
    ASSERT_TRUE(client.last("r=abcd,s=c2FsdA==,i=2"));
    for (const auto text : {""sv, "v="sv, "v=AAAA"sv, "e=invalid-proof"sv,
                            "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv})
        EXPECT_EQ(client.verify(text), ProxyErrc::server_login_failed) << text;
}

TEST(ScramClient, VerifiesNothingBeforeItHasAnswered) {
    ScramClient client = ScramClient::with_password("secret", "abc");
    client.first();
    const Digest of_empty_key = hmac_sha256(std::string(32, '\0'), "");
    EXPECT_EQ(client.verify("v=" + base64_encode(as_view(of_empty_key))),
              ProxyErrc::server_login_failed);
}

TEST(Verifier, IsReadAndWrittenAsPostgresStoresIt) {
    const std::string text = to_string(verifier_of_the_example());
    EXPECT_EQ(text,
              "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
              "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
              "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    const auto parsed = parse_verifier(text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(to_string(*parsed), text);
    EXPECT_EQ(parsed->salt, verifier_of_the_example().salt);
}

class BadVerifier : public testing::TestWithParam<std::string_view> {};

TEST_P(BadVerifier, IsRejected) { EXPECT_FALSE(parse_verifier(GetParam())); }

constexpr auto kKeys32 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv;
INSTANTIATE_TEST_SUITE_P(
    Table,
    BadVerifier,
    testing::Values(
        ""sv,
        "md5900150983cd24fb0d6963f7d28e17f72"sv,
        "SCRAM-SHA-256"sv,
        "SCRAM-SHA-256$"sv,
        "SCRAM-SHA-256$4096"sv,
        "SCRAM-SHA-256$4096:c2FsdA=="sv,
        "SCRAM-SHA-256$4096:c2FsdA==$"sv,
        "SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA"sv,
        "SCRAM-SHA-1$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv,
        "SCRAM-SHA-256$0:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv,
        "SCRAM-SHA-256$4294967295:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv,
        "SCRAM-SHA-256$4096:$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv,
        "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="sv,
        "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= "sv));

TEST(Verifier, OfTheSameFormAsTheBadOnesIsAccepted) {
    EXPECT_TRUE(parse_verifier("SCRAM-SHA-256$4096:c2FsdA==$" + std::string{kKeys32} + ":" +
                               std::string{kKeys32}));
}

TEST(MockVerifier, HasTheSameSaltForTheSameNameOnly) {
    const Digest secret{1}, other{2};
    EXPECT_EQ(mock_verifier("bob", secret).salt, mock_verifier("bob", secret).salt);
    EXPECT_NE(mock_verifier("bob", secret).salt, mock_verifier("rob", secret).salt);
    EXPECT_NE(mock_verifier("bob", secret).salt, mock_verifier("bob", other).salt);
    EXPECT_EQ(mock_verifier("bob", secret).salt.size(), 16U);
    EXPECT_EQ(mock_verifier("bob", secret).iterations, 4096U);
}

TEST(RandomNonce, IsFreshAndPrintable) {
    EXPECT_NE(random_nonce(), random_nonce());
    EXPECT_EQ(random_nonce().size(), 24U);
    EXPECT_EQ(random_nonce().find(','), std::string::npos);
}

}  // namespace
}  // namespace pgsteer::proxy::auth
