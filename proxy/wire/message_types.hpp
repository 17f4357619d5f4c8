// Message type bytes and limits. Sources: PostgreSQL docs, "Message Formats"; libpq/pqcomm.h,
// libpq/libpq.h.
#pragma once

#include <array>
#include <cstdint>

namespace pgsteer::proxy::wire {

namespace frontend {
inline constexpr std::uint8_t kBind = 'B', kClose = 'C', kCopyData = 'd', kCopyDone = 'c',
                              kCopyFail = 'f', kDescribe = 'D', kExecute = 'E', kFlush = 'H',
                              kFunctionCall = 'F', kParse = 'P', kPassword = 'p', kQuery = 'Q',
                              kSync = 'S', kTerminate = 'X';
}  // namespace frontend

namespace backend {
inline constexpr std::uint8_t kAuthentication = 'R', kBackendKeyData = 'K', kBindComplete = '2',
                              kCloseComplete = '3', kCommandComplete = 'C', kCopyData = 'd',
                              kCopyDone = 'c', kCopyInResponse = 'G', kCopyOutResponse = 'H',
                              kCopyBothResponse = 'W', kDataRow = 'D', kEmptyQueryResponse = 'I',
                              kErrorResponse = 'E', kFunctionCallResponse = 'V',
                              kNegotiateProtocolVersion = 'v', kNoData = 'n', kNoticeResponse = 'N',
                              kNotificationResponse = 'A', kParameterDescription = 't',
                              kParameterStatus = 'S', kParseComplete = '1', kPortalSuspended = 's',
                              kReadyForQuery = 'Z', kRowDescription = 'T';
}  // namespace backend

inline constexpr std::uint32_t kProtocol30 = 0x0003'0000, kProtocol32 = 0x0003'0002;
inline constexpr std::uint32_t kCancelRequestCode = 80877102, kSslRequestCode = 80877103,
                               kGssEncRequestCode = 80877104;
// Limits. PostgreSQL's own ones count the length word (4 bytes) of a typed message; these do not.
inline constexpr std::uint32_t kMaxStartupPacketBytes =
    10'000;  // MAX_STARTUP_PACKET_LENGTH, after the length word
inline constexpr std::uint32_t kMaxSmallBody = 10'000 - 4;  // PQ_SMALL_MESSAGE_LIMIT
inline constexpr std::uint32_t kMaxAuthBody = 65'535 - 4;   // PG_MAX_AUTH_TOKEN_LENGTH
inline constexpr std::uint32_t kMaxLargeBody =
    0x3FFF'FFFF - 1 - 4;  // PQ_LARGE_MESSAGE_LIMIT = MaxAllocSize - 1

namespace detail {
inline constexpr auto kMaxFrontendBody = [] {
    std::array<std::uint32_t, 256> most{};
    for (const auto type : {frontend::kBind, frontend::kCopyData, frontend::kFunctionCall,
                            frontend::kParse, frontend::kQuery})
        most[type] = kMaxLargeBody;
    for (const auto type :
         {frontend::kClose, frontend::kCopyDone, frontend::kCopyFail, frontend::kDescribe,
          frontend::kExecute, frontend::kFlush, frontend::kSync, frontend::kTerminate})
        most[type] = kMaxSmallBody;
    most[frontend::kPassword] = kMaxAuthBody;
    return most;
}();
}  // namespace detail

// The largest body a frontend message of this type may have; 0 for a type that does not exist.
[[nodiscard]] constexpr std::uint32_t max_frontend_body(std::uint8_t type) {
    return detail::kMaxFrontendBody[type];
}

}  // namespace pgsteer::proxy::wire
