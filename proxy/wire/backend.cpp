#include "proxy/wire/backend.hpp"

#include "proxy/wire/body_reader.hpp"
#include "proxy/wire/body_writer.hpp"
#include "proxy/wire/message_types.hpp"

#include <algorithm>

namespace pgsteer::proxy::wire {

using routing::TransactionStatus;
namespace {

constexpr std::uint32_t kNull = 0xFFFF'FFFF;  // a column length of -1

bool fits(const Authentication& message) {
    switch (static_cast<AuthenticationKind>(message.kind)) {
        case AuthenticationKind::ok:
        case AuthenticationKind::cleartext:
            return message.data.empty();
        case AuthenticationKind::md5:
            return message.data.size() == 4;
        default:
            return true;
    }
}

void encode_fields(Buffer& out, std::uint8_t type, const ErrorText& text) {
    BodyWriter body{out, type};
    // 'S' may be translated, 'V' never is; ours are the same.
    body.u8('S').cstr(text.severity).u8('V').cstr(text.severity).u8('C').cstr(text.sqlstate);
    body.u8('M').cstr(text.message);
    if (!text.detail.empty()) body.u8('D').cstr(text.detail);
    if (!text.hint.empty()) body.u8('H').cstr(text.hint);
    body.u8(0);
}

}  // namespace

Result<ErrorFields> decode_error(Bytes body) {
    BodyReader in{body};
    ErrorFields fields;
    bool untranslated = false;
    while (const std::uint8_t code = in.u8()) {
        const std::string_view value = in.cstr();
        switch (code) {
            case 'V':
                fields.severity = value;
                untranslated = true;
                break;
            case 'S':
                if (!untranslated) fields.severity = value;
                break;
            case 'C':
                fields.sqlstate = value;
                break;
            case 'M':
                fields.message = value;
                break;
            case 'H':
                fields.hint = value;
                break;
            case 'R':
                fields.routine = value;
                break;
            default:
                break;
        }
    }
    if (in.finish()) return ProxyErrc::protocol_violation;
    return fields;
}

Result<ParameterStatus> decode_parameter_status(Bytes body) {
    BodyReader in{body};
    ParameterStatus status;
    status.name = in.cstr();
    status.value = in.cstr();
    if (auto ec = in.finish()) return ec;
    return status;
}

Result<BackendKeyData> decode_backend_key_data(Bytes body) {
    BodyReader in{body};
    BackendKeyData key;
    key.process_id = in.u32();
    key.secret_key = in.u32();
    if (auto ec = in.finish()) return ec;
    return key;
}

Result<Authentication> decode_authentication(Bytes body) {
    BodyReader in{body};
    Authentication message;
    message.kind = in.u32();
    if (in.failed()) return ProxyErrc::truncated;
    message.data = in.rest();
    if (!fits(message)) return ProxyErrc::protocol_violation;
    return message;
}

std::vector<std::string_view> sasl_mechanisms(Bytes data) {
    BodyReader in{data};
    std::vector<std::string_view> mechanisms;
    for (;;) {
        const std::string_view name = in.cstr();
        if (name.empty()) break;
        mechanisms.push_back(name);
    }
    if (in.finish()) return {};
    return mechanisms;
}

Result<TransactionStatus> decode_ready_for_query(Bytes body) {
    BodyReader in{body};
    const TransactionStatus status{in.u8()};
    if (auto ec = in.finish()) return ec;
    if (status != TransactionStatus::idle && status != TransactionStatus::in_block &&
        status != TransactionStatus::failed)
        return ProxyErrc::protocol_violation;
    return status;
}

Result<std::string_view> decode_command_complete(Bytes body) {
    BodyReader in{body};
    const std::string_view tag = in.cstr();
    if (auto ec = in.finish()) return ec;
    return tag;
}

Result<std::vector<std::string_view>> decode_data_row(Bytes body) {
    BodyReader in{body};
    const std::size_t count = in.u16();
    std::vector<std::string_view> columns;
    columns.reserve(std::min(count, in.rest().size() / 4));
    for (std::size_t i = 0; i < count && !in.failed(); ++i) {
        const std::uint32_t length = in.u32();
        columns.push_back(length == kNull ? std::string_view{} : as_text(in.bytes(length)));
    }
    if (auto ec = in.finish()) return ec;
    return columns;
}

void encode_error(Buffer& out, const ErrorText& error) {
    encode_fields(out, backend::kErrorResponse, error);
}

void encode_notice(Buffer& out, const ErrorText& notice) {
    encode_fields(out, backend::kNoticeResponse, notice);
}

void encode_authentication(Buffer& out, AuthenticationKind kind, Bytes data) {
    BodyWriter{out, backend::kAuthentication}.u32(static_cast<std::uint32_t>(kind)).bytes(data);
}

void encode_sasl_mechanisms(Buffer& out, std::vector<std::string_view> mechanisms) {
    BodyWriter body{out, backend::kAuthentication};
    body.u32(static_cast<std::uint32_t>(AuthenticationKind::sasl));
    for (const std::string_view name : mechanisms) body.cstr(name);
    body.u8(0);
}

void encode_parameter_status(Buffer& out, std::string_view name, std::string_view value) {
    BodyWriter{out, backend::kParameterStatus}.cstr(name).cstr(value);
}

void encode_backend_key_data(Buffer& out, const BackendKeyData& key) {
    BodyWriter{out, backend::kBackendKeyData}.u32(key.process_id).u32(key.secret_key);
}

void encode_ready_for_query(Buffer& out, TransactionStatus status) {
    BodyWriter{out, backend::kReadyForQuery}.u8(static_cast<std::uint8_t>(status));
}

void encode_negotiate_protocol_version(Buffer& out,
                                       std::uint32_t newest_minor,
                                       const std::vector<std::string>& unknown_options) {
    BodyWriter body{out, backend::kNegotiateProtocolVersion};
    // PostgreSQL sends, and libpq expects, the whole version number: 3 in the high 16 bits.
    body.u32(kProtocol30 | newest_minor).u32(static_cast<std::uint32_t>(unknown_options.size()));
    for (const std::string& option : unknown_options) body.cstr(option);
}

void encode_bare(Buffer& out, std::uint8_t type) { BodyWriter{out, type}; }

void encode_no_parameters(Buffer& out) { BodyWriter{out, backend::kParameterDescription}.u16(0); }

void encode_command_complete(Buffer& out, std::string_view tag) {
    BodyWriter{out, backend::kCommandComplete}.cstr(tag);
}

}  // namespace pgsteer::proxy::wire
