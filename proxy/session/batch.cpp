#include "proxy/session/batch.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy {

namespace frontend = wire::frontend;

namespace {

std::size_t offset_in(wire::Bytes whole, std::string_view part) {
    return static_cast<std::size_t>(reinterpret_cast<const std::uint8_t*>(part.data()) -
                                    whole.data());
}

void set_name(BatchItem& item, wire::Bytes whole, std::string_view name) {
    item.name_at = offset_in(whole, name);
    item.name_size = name.size();
}

}  // namespace

Result<std::optional<ReadItem>> read_item(wire::Bytes whole,
                                          std::size_t at,
                                          std::uint8_t type,
                                          std::size_t message_bytes) {
    const auto available = std::min(whole.size() - at, message_bytes);
    const auto body = whole.subspan(at + wire::kHeaderBytes, available - wire::kHeaderBytes);
    const bool complete = available == message_bytes;
    const bool has_sql = complete && message_bytes <= kMaxWholeMessage;
    ReadItem read{.item = {.type = type, .begin = at, .end = at + message_bytes},
                  .sql = {},
                  .has_sql = false};
    auto& item = read.item;

    switch (type) {
        case frontend::kQuery: {
            if (!has_sql) break;
            const auto query = wire::decode_query(body);
            if (!query) return query.error();
            read.sql = query->sql;
            read.has_sql = true;
            break;
        }
        case frontend::kParse: {
            if (has_sql) {
                const auto parse = wire::decode_parse(body);
                if (!parse) return parse.error();
                set_name(item, whole, parse->statement_name);
                read.sql = parse->sql;
                read.has_sql = true;
            } else {
                const auto end = std::find(body.begin(), body.end(), 0);
                if (end == body.end()) {
                    if (complete || available > kMaxWholeMessage)
                        return ProxyErrc::protocol_violation;
                    return std::optional<ReadItem>{};
                }
                set_name(item, whole,
                         wire::as_text(body.first(static_cast<std::size_t>(end - body.begin()))));
            }
            break;
        }
        case frontend::kBind: {
            const auto names = wire::decode_bind_names(body);
            if (!names) {
                if (complete || available > kMaxWholeMessage) return names.error();
                return std::optional<ReadItem>{};
            }
            item.portal_at = offset_in(whole, names->portal_name);
            item.portal_size = names->portal_name.size();
            set_name(item, whole, names->statement_name);
            break;
        }
        case frontend::kDescribe: {
            const auto describe = wire::decode_describe(body);
            if (!describe) return describe.error();
            item.target = describe->kind;
            set_name(item, whole, describe->name);
            break;
        }
        case frontend::kClose: {
            const auto close = wire::decode_close(body);
            if (!close) return close.error();
            item.target = close->kind;
            set_name(item, whole, close->name);
            break;
        }
        case frontend::kExecute: {
            const auto execute = wire::decode_execute(body);
            if (!execute) return execute.error();
            set_name(item, whole, execute->portal_name);
            item.limited = execute->max_rows > 0;
            break;
        }
        case frontend::kSync:
        case frontend::kFlush:
            if (!body.empty()) return ProxyErrc::trailing_bytes;
            break;
        case frontend::kFunctionCall:
            if (!complete && body.size() < sizeof(item.function)) return std::optional<ReadItem>{};
            if (body.size() >= sizeof(item.function)) item.function = wire::BodyReader{body}.u32();
            break;
        default:
            return ProxyErrc::protocol_violation;
    }
    return std::optional{std::move(read)};
}

ReadItem malformed_item(std::size_t at, std::uint8_t type, std::size_t message_bytes) {
    ReadItem malformed;
    malformed.item.type = kMalformed;
    malformed.item.target = type;
    malformed.item.begin = at;
    malformed.item.end = at + message_bytes;
    return malformed;
}

}  // namespace pgsteer::proxy
