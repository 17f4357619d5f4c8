#include "proxy/wire/message_types.hpp"

namespace pgsteer::proxy::wire {

std::uint32_t max_frontend_body(std::uint8_t type) {
    switch (type) {
        case frontend::kBind:
        case frontend::kCopyData:
        case frontend::kFunctionCall:
        case frontend::kParse:
        case frontend::kQuery:
            return kMaxLargeBody;
        case frontend::kPassword:
            return kMaxAuthBody;
        case frontend::kClose:
        case frontend::kCopyDone:
        case frontend::kCopyFail:
        case frontend::kDescribe:
        case frontend::kExecute:
        case frontend::kFlush:
        case frontend::kSync:
        case frontend::kTerminate:
            return kMaxSmallBody;
        default:
            return 0;
    }
}

}  // namespace pgsteer::proxy::wire
