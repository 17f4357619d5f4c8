#include "proxy/wire/message_types.hpp"

#include <gtest/gtest.h>

#include <string_view>

namespace pgsteer::proxy::wire {
namespace {

// The numbers are typed here a second time, from the protocol's documentation, on purpose.
TEST(MessageTypes, OfTheFrontendAreThoseOfTheProtocol) {
    EXPECT_EQ(frontend::kBind, 0x42);
    EXPECT_EQ(frontend::kClose, 0x43);
    EXPECT_EQ(frontend::kCopyData, 0x64);
    EXPECT_EQ(frontend::kCopyDone, 0x63);
    EXPECT_EQ(frontend::kCopyFail, 0x66);
    EXPECT_EQ(frontend::kDescribe, 0x44);
    EXPECT_EQ(frontend::kExecute, 0x45);
    EXPECT_EQ(frontend::kFlush, 0x48);
    EXPECT_EQ(frontend::kFunctionCall, 0x46);
    EXPECT_EQ(frontend::kParse, 0x50);
    EXPECT_EQ(frontend::kPassword, 0x70);
    EXPECT_EQ(frontend::kQuery, 0x51);
    EXPECT_EQ(frontend::kSync, 0x53);
    EXPECT_EQ(frontend::kTerminate, 0x58);
}

TEST(MessageTypes, OfTheBackendAreThoseOfTheProtocol) {
    EXPECT_EQ(backend::kAuthentication, 0x52);
    EXPECT_EQ(backend::kBackendKeyData, 0x4B);
    EXPECT_EQ(backend::kBindComplete, 0x32);
    EXPECT_EQ(backend::kCloseComplete, 0x33);
    EXPECT_EQ(backend::kCommandComplete, 0x43);
    EXPECT_EQ(backend::kCopyData, 0x64);
    EXPECT_EQ(backend::kCopyDone, 0x63);
    EXPECT_EQ(backend::kCopyInResponse, 0x47);
    EXPECT_EQ(backend::kCopyOutResponse, 0x48);
    EXPECT_EQ(backend::kCopyBothResponse, 0x57);
    EXPECT_EQ(backend::kDataRow, 0x44);
    EXPECT_EQ(backend::kEmptyQueryResponse, 0x49);
    EXPECT_EQ(backend::kErrorResponse, 0x45);
    EXPECT_EQ(backend::kFunctionCallResponse, 0x56);
    EXPECT_EQ(backend::kNegotiateProtocolVersion, 0x76);
    EXPECT_EQ(backend::kNoData, 0x6E);
    EXPECT_EQ(backend::kNoticeResponse, 0x4E);
    EXPECT_EQ(backend::kNotificationResponse, 0x41);
    EXPECT_EQ(backend::kParameterDescription, 0x74);
    EXPECT_EQ(backend::kParameterStatus, 0x53);
    EXPECT_EQ(backend::kParseComplete, 0x31);
    EXPECT_EQ(backend::kPortalSuspended, 0x73);
    EXPECT_EQ(backend::kReadyForQuery, 0x5A);
    EXPECT_EQ(backend::kRowDescription, 0x54);
}

TEST(MessageTypes, StartupCodesAreThoseOfTheProtocol) {
    EXPECT_EQ(kProtocol30, 196608U);
    EXPECT_EQ(kProtocol32, 196610U);
    EXPECT_EQ(kCancelRequestCode, 1234U << 16 | 5678U);
    EXPECT_EQ(kSslRequestCode, 1234U << 16 | 5679U);
    EXPECT_EQ(kGssEncRequestCode, 1234U << 16 | 5680U);
}

TEST(MessageTypes, LimitsAreThoseOfPostgresWithoutTheLengthWord) {
    EXPECT_EQ(kMaxStartupPacketBytes, 10000U);
    EXPECT_EQ(kMaxSmallBody, 9996U);
    EXPECT_EQ(kMaxAuthBody, 65531U);
    EXPECT_EQ(kMaxLargeBody, 1073741818U);
}

TEST(MessageTypes, OnlyThoseThatCarryDataMayBeLarge) {
    for (int type = 0; type < 256; ++type) {
        const auto c = static_cast<char>(type);
        std::uint32_t expected = 0;
        if (c != '\0' && std::string_view{"BdFPQ"}.find(c) != std::string_view::npos)
            expected = kMaxLargeBody;
        if (c != '\0' && std::string_view{"CcfDEHSX"}.find(c) != std::string_view::npos)
            expected = kMaxSmallBody;
        if (c == 'p') expected = kMaxAuthBody;
        EXPECT_EQ(max_frontend_body(static_cast<std::uint8_t>(type)), expected) << "type " << type;
    }
}

}  // namespace
}  // namespace pgsteer::proxy::wire
