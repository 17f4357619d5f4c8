// The first byte selects a decoder of frontend messages, the rest is the body. What can be encoded
// again must give the same bytes; no prefix of a body that was accepted may be accepted too.
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/header.hpp"
#include "proxy/wire/message_types.hpp"

#include <cstdlib>

using namespace pgsteer::proxy::wire;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

template <class Decode>
bool accepts(Decode decode, Bytes body) {
    const bool accepted = static_cast<bool>(decode(body));
    if (accepted && !body.empty()) require(!decode(body.first(body.size() - 1)));
    return accepted;
}

// `message` must be a header of this body's size, and the body.
void require_same(const Buffer& message, Bytes body) {
    const auto header = peek_header(message, kMaxLargeBody);
    require(header && *header && (*header)->body_size == body.size());
    require(Buffer(message.begin() + kHeaderBytes, message.end()) ==
            Buffer(body.begin(), body.end()));
}

void query(Bytes body) {
    if (!accepts(decode_query, body)) return;
    Buffer out;
    encode_query(out, decode_query(body)->sql);
    require_same(out, body);
}

void parse(Bytes body) {
    if (!accepts(decode_parse, body)) return;
    const auto message = decode_parse(body);
    Buffer out;
    encode_parse(out, message->statement_name, message->sql, message->param_oids);
    require_same(out, body);
}

void close(Bytes body) {
    if (!accepts(decode_close, body)) return;
    const auto message = decode_close(body);
    Buffer out;
    encode_close(out, message->kind, message->name);
    require_same(out, body);
}

void bind_names(Bytes body) {
    const auto names = decode_bind_names(body);
    if (names) require(names->portal_name.size() + names->statement_name.size() + 2 <= body.size());
}

void sasl_initial(Bytes body) {
    if (!accepts(decode_sasl_initial, body)) return;
    const auto message = decode_sasl_initial(body);
    if (!message->has_data) return;
    Buffer out;
    encode_sasl_initial(out, message->mechanism, message->data);
    require_same(out, body);
}

void password(Bytes body) {
    if (!accepts(decode_password, body)) return;
    Buffer out;
    encode_password(out, *decode_password(body));
    require_same(out, body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Bytes body{data + 1, size - 1};
    switch (data[0]) {
        case frontend::kQuery:
            query(body);
            break;
        case frontend::kParse:
            parse(body);
            break;
        case frontend::kBind:
            bind_names(body);
            break;
        case frontend::kDescribe:
            accepts(decode_describe, body);
            break;
        case frontend::kClose:
            close(body);
            break;
        case frontend::kExecute:
            accepts(decode_execute, body);
            break;
        case frontend::kPassword:
            password(body);
            break;
        case 'i':
            sasl_initial(body);
            break;
        default:
            (void)peek_header(body, kMaxSmallBody);
            break;
    }
    return 0;
}
