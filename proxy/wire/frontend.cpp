#include "proxy/wire/frontend.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy::wire {
namespace {

constexpr std::uint32_t kNoData = 0xFFFF'FFFF;  // a length of -1

// Describe and Close: 'S' and the name of a prepared statement, or 'P' and that of a portal.
template <class Message>
Result<Message> decode_kind_and_name(Bytes body) {
    BodyReader in{body};
    Message msg;
    msg.kind = in.u8();
    msg.name = in.cstr();
    if (auto ec = in.finish()) return ec;
    if (msg.kind != 'S' && msg.kind != 'P') return ProxyErrc::protocol_violation;
    return msg;
}

Result<std::string_view> decode_text(Bytes body) {
    BodyReader in{body};
    const std::string_view text = in.cstr();
    if (auto ec = in.finish()) return ec;
    return text;
}

}  // namespace

Result<Query> decode_query(Bytes body) {
    const auto text = decode_text(body);
    if (!text) return text.error();
    return Query{.sql = *text};
}

Result<Parse> decode_parse(Bytes body) {
    BodyReader in{body};
    Parse msg;
    msg.statement_name = in.cstr();
    msg.sql = in.cstr();
    const std::size_t count = in.u16();
    msg.param_oids.reserve(std::min(count, in.rest().size() / 4));
    for (std::size_t i = 0; i < count && !in.failed(); ++i) msg.param_oids.push_back(in.u32());
    if (auto ec = in.finish()) return ec;
    return msg;
}

Result<BindNames> decode_bind_names(Bytes front) {
    BodyReader in{front};
    BindNames names;
    names.portal_name = in.cstr();
    names.statement_name = in.cstr();
    if (in.failed()) return ProxyErrc::truncated;
    return names;
}

bool binds_no_parameter(Bytes body) {
    BodyReader in{body};
    in.cstr();
    in.cstr();
    const auto formats = in.u16();
    if (formats > 1) return false;  // PostgreSQL counts them
    in.bytes(2U * formats);
    if (in.u16() != 0) return false;
    in.bytes(2U * in.u16());
    return !in.finish();
}

Result<Describe> decode_describe(Bytes body) { return decode_kind_and_name<Describe>(body); }

Result<Close> decode_close(Bytes body) { return decode_kind_and_name<Close>(body); }

Result<Execute> decode_execute(Bytes body) {
    BodyReader in{body};
    Execute msg;
    msg.portal_name = in.cstr();
    msg.max_rows = in.u32();
    if (auto ec = in.finish()) return ec;
    return msg;
}

Result<SaslInitial> decode_sasl_initial(Bytes body) {
    BodyReader in{body};
    SaslInitial msg;
    msg.mechanism = in.cstr();
    const std::uint32_t length = in.u32();
    if (length != kNoData) {
        msg.has_data = true;
        msg.data = as_text(in.bytes(length));
    }
    if (auto ec = in.finish()) return ec;
    return msg;
}

Result<std::string_view> decode_password(Bytes body) { return decode_text(body); }

void encode_query(Buffer& out, std::string_view sql) {
    BodyWriter{out, frontend::kQuery}.cstr(sql);
}

void encode_parse(Buffer& out,
                  std::string_view name,
                  std::string_view sql,
                  std::span<const std::uint32_t> param_oids) {
    BodyWriter body{out, frontend::kParse};
    body.cstr(name).cstr(sql).u16(static_cast<std::uint16_t>(param_oids.size()));
    for (const std::uint32_t oid : param_oids) body.u32(oid);
}

void encode_bind(Buffer& out, std::string_view portal, std::string_view statement) {
    BodyWriter{out, frontend::kBind}.cstr(portal).cstr(statement).u16(0).u16(0).u16(0);
}

void encode_execute(Buffer& out, std::string_view portal) {
    BodyWriter{out, frontend::kExecute}.cstr(portal).u32(0);
}

void encode_close(Buffer& out, std::uint8_t kind, std::string_view name) {
    BodyWriter{out, frontend::kClose}.u8(kind).cstr(name);
}

void encode_describe(Buffer& out, std::uint8_t kind, std::string_view name) {
    BodyWriter{out, frontend::kDescribe}.u8(kind).cstr(name);
}

void encode_sync(Buffer& out) { BodyWriter{out, frontend::kSync}; }

void encode_flush(Buffer& out) { BodyWriter{out, frontend::kFlush}; }

void encode_terminate(Buffer& out) { BodyWriter{out, frontend::kTerminate}; }

void encode_password(Buffer& out, std::string_view password) {
    BodyWriter{out, frontend::kPassword}.cstr(password);
}

void encode_sasl_initial(Buffer& out, std::string_view mechanism, std::string_view data) {
    BodyWriter body{out, frontend::kPassword};
    body.cstr(mechanism).u32(static_cast<std::uint32_t>(data.size())).bytes(as_bytes(data));
}

void encode_sasl_response(Buffer& out, std::string_view data) {
    BodyWriter{out, frontend::kPassword}.bytes(as_bytes(data));
}

}  // namespace pgsteer::proxy::wire
