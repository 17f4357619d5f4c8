#include "proxy/wire/frontend.hpp"

#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

// The body within a whole message.
std::string_view body_of(std::string_view message) { return message.substr(5); }

constexpr auto kQuery = "Q\0\0\0\x0DSELECT 1\0"sv;
constexpr auto kClose = "C\0\0\0\x08Ss1\0"sv;

TEST(Query, DecodesAndEncodes) {
    const auto decoded = decode_query(as_bytes(body_of(kQuery)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->sql, "SELECT 1");
    EXPECT_EQ(encoded([](Buffer& out) { encode_query(out, "SELECT 1"); }), kQuery);
}

TEST(Query, MayBeEmpty) {
    const auto decoded = decode_query(as_bytes("\0"sv));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->sql, "");
}

TEST(Query, NeedsItsNulAtTheEndAndNowhereElse) {
    expect_every_prefix_fails(decode_query, body_of(kQuery));
    EXPECT_EQ(error_of(decode_query, "SELECT 1"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_query, "SELECT 1\0DROP\0"sv), ProxyErrc::trailing_bytes);
}

TEST(Parse, DecodesAndEncodes) {
    const std::vector<std::uint32_t> oids{23, 1025};
    const std::string message = encoded([&](Buffer& out) { encode_parse(out, "s1", "SQL", oids); });
    EXPECT_EQ(message, "P\0\0\0\x15s1\0SQL\0\0\2\0\0\0\x17\0\0\4\1"sv);
    const auto decoded = decode_parse(as_bytes(body_of(message)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->statement_name, "s1");
    EXPECT_EQ(decoded->sql, "SQL");
    EXPECT_EQ(decoded->param_oids, oids);
    expect_every_prefix_fails(decode_parse, body_of(message));
}

TEST(Parse, MayBeUnnamedAndWithoutParameters) {
    const std::string message = encoded([](Buffer& out) { encode_parse(out, "", "SQL", {}); });
    EXPECT_EQ(message, "P\0\0\0\x0B\0SQL\0\0\0"sv);
    const auto decoded = decode_parse(as_bytes(body_of(message)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->statement_name, "");
    EXPECT_TRUE(decoded->param_oids.empty());
}

TEST(Parse, IsTruncatedIfItClaimsMoreParametersThanItHolds) {
    EXPECT_EQ(error_of(decode_parse, "\0SQL\0\xFF\xFF"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_parse, "\0SQL\0\xFF\xFF\0\0"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_parse, "\0SQL\0\0\1\0\0\0"sv), ProxyErrc::truncated);
}

TEST(Parse, RejectsBytesBehindItsParameters) {
    EXPECT_EQ(error_of(decode_parse, "\0SQL\0\0\0x"sv), ProxyErrc::trailing_bytes);
}

TEST(BindNames, AreReadFromTheFrontOfTheBody) {
    const auto decoded =
        decode_bind_names(as_bytes("portal\0statement\0\0\0\0\1\0\0\0\3abc\0\0"sv));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->portal_name, "portal");
    EXPECT_EQ(decoded->statement_name, "statement");
}

TEST(BindNames, MayBothBeEmpty) {
    const auto decoded = decode_bind_names(as_bytes("\0\0"sv));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->portal_name, "");
    EXPECT_EQ(decoded->statement_name, "");
}

TEST(BindNames, AreTruncatedUntilBothAreComplete) {
    expect_every_prefix_fails(decode_bind_names, "portal\0statement\0"sv);
    EXPECT_EQ(error_of(decode_bind_names, "portal\0statem"sv), ProxyErrc::truncated);
}

template <class Message>
void expect_kind_and_name(Result<Message> (*decode)(Bytes)) {
    const auto statement = decode(as_bytes("Ss1\0"sv));
    ASSERT_TRUE(statement);
    EXPECT_EQ(statement->kind, 'S');
    EXPECT_EQ(statement->name, "s1");
    const auto portal = decode(as_bytes("P\0"sv));
    ASSERT_TRUE(portal);
    EXPECT_EQ(portal->kind, 'P');
    EXPECT_EQ(portal->name, "");
    expect_every_prefix_fails(decode, "Ss1\0"sv);
    EXPECT_EQ(error_of(decode, "Xs1\0"sv), ProxyErrc::protocol_violation);
    EXPECT_EQ(error_of(decode, "\0s1\0"sv), ProxyErrc::protocol_violation);
    EXPECT_EQ(error_of(decode, "Ss1"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode, "Ss1\0\0"sv), ProxyErrc::trailing_bytes);
}

TEST(Describe, TakesAKindAndAName) { expect_kind_and_name(decode_describe); }

TEST(Close, TakesAKindAndAName) {
    expect_kind_and_name(decode_close);
    EXPECT_EQ(encoded([](Buffer& out) { encode_close(out, 'S', "s1"); }), kClose);
}

TEST(Bind, WithoutValuesIsItsNames) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_bind(out, "p", "s1"); }),
              "B\0\0\0\x0F"
              "p\0s1\0\0\0\0\0\0\0"sv);
}

TEST(Execute, OfAllRowsIsItsPortal) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_execute(out, "p"); }),
              "E\0\0\0\x0A"
              "p\0\0\0\0\0"sv);
}

TEST(Execute, TakesAPortalAndARowLimit) {
    const auto body = "p\0\x01\x02\x03\x04"sv;
    const auto decoded = decode_execute(as_bytes(body));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->portal_name, "p");
    EXPECT_EQ(decoded->max_rows, 0x01020304U);
    expect_every_prefix_fails(decode_execute, body);
    EXPECT_EQ(error_of(decode_execute, "p\0\0\0\0\0\0"sv), ProxyErrc::trailing_bytes);
}

TEST(SaslInitial, DecodesAndEncodes) {
    const std::string message =
        encoded([](Buffer& out) { encode_sasl_initial(out, "SCRAM-SHA-256", "n,,n=,r=x"); });
    EXPECT_EQ(message, "p\0\0\0\x1FSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"sv);
    const auto decoded = decode_sasl_initial(as_bytes(body_of(message)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->mechanism, "SCRAM-SHA-256");
    EXPECT_TRUE(decoded->has_data);
    EXPECT_EQ(decoded->data, "n,,n=,r=x");
    expect_every_prefix_fails(decode_sasl_initial, body_of(message));
}

TEST(SaslInitial, MayComeWithoutDataOrWithEmptyData) {
    const auto without = decode_sasl_initial(as_bytes("M\0\xFF\xFF\xFF\xFF"sv));
    ASSERT_TRUE(without);
    EXPECT_FALSE(without->has_data);
    const auto empty = decode_sasl_initial(as_bytes("M\0\0\0\0\0"sv));
    ASSERT_TRUE(empty);
    EXPECT_TRUE(empty->has_data);
    EXPECT_EQ(empty->data, "");
}

TEST(SaslInitial, RejectsALengthThatDoesNotFit) {
    EXPECT_EQ(error_of(decode_sasl_initial, "M\0\0\0\0\4abc"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_sasl_initial, "M\0\0\0\0\2abc"sv), ProxyErrc::trailing_bytes);
    EXPECT_EQ(error_of(decode_sasl_initial, "M\0\x80\0\0\0abc"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_sasl_initial, "M\0\xFF\xFF\xFF\xFE"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_sasl_initial, "M\0\xFF\xFF\xFF\xFFx"sv), ProxyErrc::trailing_bytes);
}

TEST(Password, IsTextWithItsNul) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_password(out, "pw"); }), "p\0\0\0\7pw\0"sv);
    const auto decoded = decode_password(as_bytes("pw\0"sv));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, "pw");
    expect_every_prefix_fails(decode_password, "pw\0"sv);
    EXPECT_EQ(error_of(decode_password, "pw\0x"sv), ProxyErrc::trailing_bytes);
}

TEST(FrontendMessages, WithoutFieldsAreAHeaderAlone) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_sync(out); }), "S\0\0\0\4"sv);
    EXPECT_EQ(encoded([](Buffer& out) { encode_terminate(out); }), "X\0\0\0\4"sv);
}

TEST(SaslResponse, IsItsDataWithoutNul) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_sasl_response(out, "c=biws"); }),
              "p\0\0\0\x0A"
              "c=biws"sv);
}

}  // namespace
}  // namespace pgsteer::proxy::wire
