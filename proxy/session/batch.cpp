#include "proxy/session/batch.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace frontend = wire::frontend;

namespace {

std::uint32_t offset_in(wire::Bytes whole, std::string_view part) {
    return static_cast<std::uint32_t>(reinterpret_cast<const std::uint8_t*>(part.data()) -
                                      whole.data());
}

void set_name(BatchItem& item, wire::Bytes whole, std::string_view name) {
    item.name_at = offset_in(whole, name);
    item.name_size = static_cast<std::uint32_t>(name.size());
}

// Of a message whose end may be missing.
struct Received {
    wire::Bytes whole;  // from the batch's first byte on
    wire::Bytes body;   // as much as has arrived
    bool is_complete;
    bool has_sql;  // complete, and not too large to be classified
    bool is_too_large;
};

Result<Names> read_parse(const Received& message,
                         BatchItem& item,
                         std::optional<std::string_view>& sql) {
    if (message.has_sql) {
        const auto parse = wire::decode_parse(message.body);
        if (!parse) return parse.error();
        set_name(item, message.whole, parse->statement_name);
        sql = parse->sql;
        return Names::are_there;
    }
    const auto& body = message.body;
    const auto end = std::find(body.begin(), body.end(), 0);
    if (end == body.end()) {
        if (message.is_complete || message.is_too_large) return ProxyErrc::protocol_violation;
        return Names::are_still_to_come;
    }
    const auto name = body.first(static_cast<std::size_t>(end - body.begin()));
    set_name(item, message.whole, wire::as_text(name));
    return Names::are_there;
}

Result<Names> read_bind(const Received& message, BatchItem& item) {
    const auto names = wire::decode_bind_names(message.body);
    if (!names) {
        if (message.is_complete || message.is_too_large) return names.error();
        return Names::are_still_to_come;
    }
    item.portal_at = offset_in(message.whole, names->portal_name);
    item.portal_size = static_cast<std::uint32_t>(names->portal_name.size());
    set_name(item, message.whole, names->statement_name);
    return Names::are_there;
}

Result<Names> read_names(const Received& message,
                         BatchItem& item,
                         std::optional<std::string_view>& sql) {
    switch (item.type) {
        case frontend::kQuery: {
            if (!message.has_sql) return Names::are_there;
            const auto query = wire::decode_query(message.body);
            if (!query) return query.error();
            sql = query->sql;
            return Names::are_there;
        }
        case frontend::kParse:
            return read_parse(message, item, sql);
        case frontend::kBind:
            return read_bind(message, item);
        case frontend::kDescribe: {
            const auto describe = wire::decode_describe(message.body);
            if (!describe) return describe.error();
            item.target = describe->kind;
            set_name(item, message.whole, describe->name);
            return Names::are_there;
        }
        case frontend::kClose: {
            const auto close = wire::decode_close(message.body);
            if (!close) return close.error();
            item.target = close->kind;
            set_name(item, message.whole, close->name);
            return Names::are_there;
        }
        case frontend::kExecute: {
            const auto execute = wire::decode_execute(message.body);
            if (!execute) return execute.error();
            set_name(item, message.whole, execute->portal_name);
            item.limited = execute->max_rows > 0;
            return Names::are_there;
        }
        case frontend::kSync:
        case frontend::kFlush:
            if (!message.body.empty()) return ProxyErrc::trailing_bytes;
            return Names::are_there;
        case frontend::kFunctionCall: {
            const bool has_oid = message.body.size() >= sizeof(item.function);
            if (has_oid) item.function = wire::BodyReader{message.body}.u32();
            return has_oid || message.is_complete ? Names::are_there : Names::are_still_to_come;
        }
        default:
            return ProxyErrc::protocol_violation;
    }
}

}  // namespace

Result<Names> read_item(wire::Bytes whole,
                        std::size_t at,
                        std::uint8_t type,
                        std::size_t message_bytes,
                        BatchItem& item,
                        std::optional<std::string_view>& sql) {
    const auto available = std::min(whole.size() - at, message_bytes);
    const bool is_complete = available == message_bytes;
    const Received message{
        .whole = whole,
        .body = whole.subspan(at + wire::kHeaderBytes, available - wire::kHeaderBytes),
        .is_complete = is_complete,
        .has_sql = is_complete && message_bytes <= kMaxWholeMessage,
        .is_too_large = available > kMaxWholeMessage};
    item.type = type;
    item.begin = static_cast<std::uint32_t>(at);
    item.end = static_cast<std::uint32_t>(at + message_bytes);
    return read_names(message, item, sql);
}

BatchItem malformed_item(std::size_t at, std::uint8_t type, std::size_t message_bytes) {
    BatchItem malformed;
    malformed.type = kMalformed;
    malformed.target = type;
    malformed.begin = static_cast<std::uint32_t>(at);
    malformed.end = static_cast<std::uint32_t>(at + message_bytes);
    return malformed;
}

}  // namespace pgsteer::proxy
