#include "proxy/wire/backend.hpp"

#include "proxy/wire/message_types.hpp"
#include "tests/unit/protocol/wire_bytes.hpp"

namespace pgsteer::proxy::wire {
namespace {

using Columns = std::vector<std::string_view>;

std::string_view body_of(std::string_view message) { return message.substr(5); }

TEST(ErrorResponse, EncodesTheFieldsThatDriversRead) {
    const ErrorText error{.severity = "FATAL", .sqlstate = "08P01", .message = "no"};
    EXPECT_EQ(encoded([&](Buffer& out) { encode_error(out, error); }),
              "E\0\0\0\x1ESFATAL\0VFATAL\0C08P01\0Mno\0\0"sv);
    const ErrorText full{
        .severity = "ERROR", .sqlstate = "25006", .message = "m", .detail = "d", .hint = "h"};
    EXPECT_EQ(encoded([&](Buffer& out) { encode_notice(out, full); }),
              "N\0\0\0\x23SERROR\0VERROR\0C25006\0Mm\0Dd\0Hh\0\0"sv);
}

TEST(ErrorResponse, Decodes) {
    constexpr auto kBody = "SFEHLER\0VERROR\0C42P01\0Mmessage\0Hhint\0Fparse.c\0L12\0Rparse\0\0"sv;
    const auto fields = decode_error(as_bytes(kBody));
    ASSERT_TRUE(fields);
    EXPECT_EQ(fields->severity, "ERROR");
    EXPECT_EQ(fields->sqlstate, "42P01");
    EXPECT_EQ(fields->message, "message");
    EXPECT_EQ(fields->hint, "hint");
    EXPECT_EQ(fields->routine, "parse");
    expect_every_prefix_fails(decode_error, kBody);
}

TEST(ErrorResponse, PrefersTheUntranslatedSeverityWhereverItStands) {
    const auto fields = decode_error(as_bytes("VERROR\0SFEHLER\0\0"sv));
    ASSERT_TRUE(fields);
    EXPECT_EQ(fields->severity, "ERROR");
}

TEST(ErrorResponse, OfAnOldServerHasOnlyTheTranslatedSeverity) {
    const auto fields = decode_error(as_bytes("SFEHLER\0\0"sv));
    ASSERT_TRUE(fields);
    EXPECT_EQ(fields->severity, "FEHLER");
}

TEST(ErrorResponse, MayLackEveryField) {
    const auto fields = decode_error(as_bytes("\0"sv));
    ASSERT_TRUE(fields);
    EXPECT_EQ(fields->severity, "");
    EXPECT_EQ(fields->sqlstate, "");
    EXPECT_EQ(fields->message, "");
    EXPECT_EQ(fields->hint, "");
}

TEST(ErrorResponse, IsMalformedWithoutItsEnds) {
    for (const auto body : {""sv, "S"sv, "SERROR"sv, "SERROR\0"sv, "SERROR\0\0x"sv})
        EXPECT_EQ(error_of(decode_error, body), ProxyErrc::protocol_violation) << body;
}

TEST(ParameterStatus, DecodesAndEncodes) {
    const std::string message =
        encoded([](Buffer& out) { encode_parameter_status(out, "TimeZone", "UTC"); });
    EXPECT_EQ(message, "S\0\0\0\x11TimeZone\0UTC\0"sv);
    const auto status = decode_parameter_status(as_bytes(body_of(message)));
    ASSERT_TRUE(status);
    EXPECT_EQ(status->name, "TimeZone");
    EXPECT_EQ(status->value, "UTC");
    expect_every_prefix_fails(decode_parameter_status, body_of(message));
    EXPECT_EQ(error_of(decode_parameter_status, "a\0b\0c"sv), ProxyErrc::trailing_bytes);
}

TEST(BackendKeyData, DecodesAndEncodes) {
    const std::string message = encoded([](Buffer& out) {
        encode_backend_key_data(out, {.process_id = 1, .secret_key = 0xA0B0C0D0});
    });
    EXPECT_EQ(message, "K\0\0\0\x0C\0\0\0\1\xA0\xB0\xC0\xD0"sv);
    const auto key = decode_backend_key_data(as_bytes(body_of(message)));
    ASSERT_TRUE(key);
    EXPECT_EQ(key->process_id, 1U);
    EXPECT_EQ(key->secret_key, 0xA0B0C0D0U);
    expect_every_prefix_fails(decode_backend_key_data, body_of(message));
    EXPECT_EQ(error_of(decode_backend_key_data, "123456789"sv), ProxyErrc::trailing_bytes);
}

TEST(Authentication, NumbersAreThoseOfTheProtocol) {
    EXPECT_EQ(static_cast<int>(AuthenticationKind::ok), 0);
    EXPECT_EQ(static_cast<int>(AuthenticationKind::cleartext), 3);
    EXPECT_EQ(static_cast<int>(AuthenticationKind::md5), 5);
    EXPECT_EQ(static_cast<int>(AuthenticationKind::sasl), 10);
    EXPECT_EQ(static_cast<int>(AuthenticationKind::sasl_continue), 11);
    EXPECT_EQ(static_cast<int>(AuthenticationKind::sasl_final), 12);
}

TEST(Authentication, Encodes) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_authentication(out, AuthenticationKind::ok); }),
              "R\0\0\0\x08\0\0\0\0"sv);
    EXPECT_EQ(encoded([](Buffer& out) {
                  encode_authentication(out, AuthenticationKind::md5, as_bytes("salt"));
              }),
              "R\0\0\0\x0C\0\0\0\5salt"sv);
    EXPECT_EQ(encoded([](Buffer& out) {
                  encode_sasl_mechanisms(out, {"A", "BC"});
              }),
              "R\0\0\0\x0E\0\0\0\x0A"
              "A\0BC\0\0"sv);
}

TEST(Authentication, Decodes) {
    const auto md5 = decode_authentication(as_bytes("\0\0\0\5salt"sv));
    ASSERT_TRUE(md5);
    EXPECT_EQ(md5->kind, static_cast<std::uint32_t>(AuthenticationKind::md5));
    EXPECT_EQ(as_text(md5->data), "salt");
    const auto unknown = decode_authentication(as_bytes("\0\0\1\0x"sv));
    ASSERT_TRUE(unknown);
    EXPECT_EQ(unknown->kind, 256U);
    EXPECT_EQ(as_text(unknown->data), "x");
    const auto empty_final = decode_authentication(as_bytes("\0\0\0\x0C"sv));
    ASSERT_TRUE(empty_final);
    EXPECT_TRUE(empty_final->data.empty());
}

TEST(Authentication, MustFitItsKind) {
    expect_every_prefix_fails(decode_authentication, "\0\0\0\5salt"sv);
    EXPECT_EQ(error_of(decode_authentication, "\0\0\0"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_authentication, "\0\0\0\5salty"sv), ProxyErrc::protocol_violation);
    EXPECT_EQ(error_of(decode_authentication, "\0\0\0\0x"sv), ProxyErrc::protocol_violation);
    EXPECT_EQ(error_of(decode_authentication, "\0\0\0\3x"sv), ProxyErrc::protocol_violation);
}

TEST(SaslMechanisms, AreAListWithAnEnd) {
    constexpr auto kList = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"sv;
    EXPECT_EQ(sasl_mechanisms(as_bytes(kList)), (Columns{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}));
    EXPECT_TRUE(sasl_mechanisms(as_bytes("\0"sv)).empty());
}

TEST(SaslMechanisms, AreNoneIfTheListIsMalformed) {
    constexpr auto kList = "A\0BC\0\0"sv;
    for (std::size_t size = 0; size < kList.size(); ++size)
        EXPECT_TRUE(sasl_mechanisms(buffer_of(kList.substr(0, size))).empty()) << size;
    EXPECT_TRUE(sasl_mechanisms(as_bytes("A\0\0x"sv)).empty());
}

TEST(ReadyForQuery, KnowsThreeStates) {
    for (const auto status : {"I"sv, "T"sv, "E"sv}) {
        const auto decoded = decode_ready_for_query(as_bytes(status));
        ASSERT_TRUE(decoded);
        EXPECT_EQ(static_cast<char>(*decoded), status[0]);
    }
    EXPECT_EQ(encoded([](Buffer& out) { encode_ready_for_query(out, routing::TransactionStatus::in_block); }), "Z\0\0\0\5T"sv);
    EXPECT_EQ(error_of(decode_ready_for_query, ""sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_ready_for_query, "II"sv), ProxyErrc::trailing_bytes);
    for (const auto status : {"i"sv, "\0"sv, "X"sv})
        EXPECT_EQ(error_of(decode_ready_for_query, status), ProxyErrc::protocol_violation);
}

TEST(CommandComplete, DecodesAndEncodes) {
    EXPECT_EQ(encoded([](Buffer& out) { encode_command_complete(out, "SELECT 1"); }),
              "C\0\0\0\x0DSELECT 1\0"sv);
    const auto tag = decode_command_complete(as_bytes("SELECT 1\0"sv));
    ASSERT_TRUE(tag);
    EXPECT_EQ(*tag, "SELECT 1");
    expect_every_prefix_fails(decode_command_complete, "SELECT 1\0"sv);
    EXPECT_EQ(error_of(decode_command_complete, "SET\0\0"sv), ProxyErrc::trailing_bytes);
}

TEST(DataRow, TellsNullFromEmpty) {
    constexpr auto kBody = "\0\3\0\0\0\2ab\xFF\xFF\xFF\xFF\0\0\0\0"sv;
    const auto row = decode_data_row(as_bytes(kBody));
    ASSERT_TRUE(row);
    ASSERT_EQ(row->size(), 3U);
    EXPECT_EQ((*row)[0], "ab");
    EXPECT_EQ((*row)[1].data(), nullptr);
    EXPECT_EQ((*row)[2], "");
    EXPECT_NE((*row)[2].data(), nullptr);
    expect_every_prefix_fails(decode_data_row, kBody);
}

TEST(DataRow, MayHaveNoColumns) {
    const auto row = decode_data_row(as_bytes("\0\0"sv));
    ASSERT_TRUE(row);
    EXPECT_TRUE(row->empty());
}

TEST(DataRow, RejectsCountsAndLengthsBeyondTheBody) {
    EXPECT_EQ(error_of(decode_data_row, "\xFF\xFF"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_data_row, "\xFF\xFF\0\0"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_data_row, "\0\1\0\0\0\3ab"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_data_row, "\0\1\xFF\xFF\xFF\xFE"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_data_row, "\0\1\x7F\xFF\xFF\xFF"sv), ProxyErrc::truncated);
    EXPECT_EQ(error_of(decode_data_row, "\0\1\0\0\0\1ab"sv), ProxyErrc::trailing_bytes);
}

TEST(NegotiateProtocolVersion, SendsTheWholeVersionNumber) {
    const auto encode_with = [](std::uint32_t minor) {
        return encoded([=](Buffer& out) {
            encode_negotiate_protocol_version(out, minor, {"_pq_.x", "y"});
        });
    };
    EXPECT_EQ(encode_with(0), "v\0\0\0\x15\0\3\0\0\0\0\0\2_pq_.x\0y\0"sv);
    EXPECT_EQ(encode_with(2), "v\0\0\0\x15\0\3\0\2\0\0\0\2_pq_.x\0y\0"sv);
    EXPECT_EQ(encode_with(kProtocol32), encode_with(2));
}

}  // namespace
}  // namespace pgsteer::proxy::wire
