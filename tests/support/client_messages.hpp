// What a client sends, for unit tests.
#pragma once

#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"

#include <cstdint>
#include <string_view>

namespace pgsteer::proxy {

// The messages of one batch.
struct Messages {
    wire::Buffer bytes;
    Messages& query(std::string_view sql) { return wire::encode_query(bytes, sql), *this; }
    Messages& parse(std::string_view name, std::string_view sql) {
        return wire::encode_parse(bytes, name, sql, {}), *this;
    }
    Messages& bind(std::string_view portal, std::string_view statement) {
        return wire::encode_bind(bytes, portal, statement), *this;
    }
    Messages& execute(std::string_view portal) {
        return wire::encode_execute(bytes, portal), *this;
    }
    // `rows`: up to 255.
    Messages& limited(std::string_view portal, std::uint8_t rows = 1) {
        wire::encode_execute(bytes, portal);
        bytes.back() = rows;
        return *this;
    }
    Messages& close(char kind, std::string_view name) {
        return wire::encode_close(bytes, static_cast<std::uint8_t>(kind), name), *this;
    }
    Messages& describe(char kind, std::string_view name) {
        const auto at = bytes.size();
        close(kind, name);
        bytes[at] = wire::frontend::kDescribe;
        return *this;
    }
    Messages& sync() { return wire::encode_sync(bytes), *this; }
    Messages& flush() { return wire::encode_flush(bytes), *this; }
};

}  // namespace pgsteer::proxy
