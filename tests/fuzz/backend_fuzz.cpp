// The first byte selects a decoder of backend messages, the rest is the body. Views must lie within
// the body, and what can be encoded again must give the same bytes.
#include "proxy/wire/backend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <cstdlib>

using namespace pgsteer::proxy::wire;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

void require_within(std::string_view view, Bytes body) {
    if (view.data() == nullptr) return;
    const std::string_view whole = as_text(body);
    require(view.data() >= whole.data());
    require(view.data() + view.size() <= whole.data() + whole.size());
}

template <class Decode>
bool accepts(Decode decode, Bytes body) {
    const bool accepted = static_cast<bool>(decode(body));
    if (accepted && !body.empty()) require(!decode(body.first(body.size() - 1)));
    return accepted;
}

void require_same(const Buffer& message, Bytes body) {
    require(Buffer(message.begin() + kHeaderBytes, message.end()) ==
            Buffer(body.begin(), body.end()));
}

void error(Bytes body) {
    if (!accepts(decode_error, body)) return;
    const auto fields = decode_error(body);
    for (const auto view : {fields->severity, fields->sqlstate, fields->message, fields->hint})
        require_within(view, body);
}

void parameter_status(Bytes body) {
    if (!accepts(decode_parameter_status, body)) return;
    const auto status = decode_parameter_status(body);
    Buffer out;
    encode_parameter_status(out, status->name, status->value);
    require_same(out, body);
}

void key_data(Bytes body) {
    if (!accepts(decode_backend_key_data, body)) return;
    Buffer out;
    encode_backend_key_data(out, *decode_backend_key_data(body));
    require_same(out, body);
}

void authentication(Bytes body) {
    const auto message = decode_authentication(body);
    if (!message) return;
    Buffer out;
    encode_authentication(out, static_cast<AuthenticationKind>(message->kind), message->data);
    require_same(out, body);
    const auto mechanisms = sasl_mechanisms(message->data);
    for (const auto mechanism : mechanisms) require_within(mechanism, body);
    if (static_cast<AuthenticationKind>(message->kind) != AuthenticationKind::sasl) return;
    if (mechanisms.empty()) return;
    out.clear();
    encode_sasl_mechanisms(out, mechanisms);
    require_same(out, body);
}

void data_row(Bytes body) {
    if (!accepts(decode_data_row, body)) return;
    for (const auto column : *decode_data_row(body)) require_within(column, body);
}

void command_complete(Bytes body) {
    if (!accepts(decode_command_complete, body)) return;
    Buffer out;
    encode_command_complete(out, *decode_command_complete(body));
    require_same(out, body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Bytes body{data + 1, size - 1};
    switch (data[0]) {
        case backend::kErrorResponse:
            error(body);
            break;
        case backend::kParameterStatus:
            parameter_status(body);
            break;
        case backend::kBackendKeyData:
            key_data(body);
            break;
        case backend::kAuthentication:
            authentication(body);
            break;
        case backend::kReadyForQuery:
            accepts(decode_ready_for_query, body);
            break;
        case backend::kDataRow:
            data_row(body);
            break;
        case backend::kCommandComplete:
            command_complete(body);
            break;
        default:
            (void)peek_header(body, kMaxLargeBody);
            break;
    }
    return 0;
}
