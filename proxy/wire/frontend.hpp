// Frontend messages that pgsteer reads or writes itself. All others are forwarded as bytes.
// Decoders take the body (without type and length); views point into it.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace pgsteer::proxy::wire {

struct Query {
    std::string_view sql;
};
struct Parse {
    std::string_view statement_name, sql;
    std::vector<std::uint32_t> param_oids;
};
// Only the names: what follows may be large and not here yet.
struct BindNames {
    std::string_view portal_name, statement_name;
};
struct Describe {
    std::uint8_t kind = 0;
    std::string_view name;
};  // kind 'S' or 'P'
struct Close {
    std::uint8_t kind = 0;
    std::string_view name;
};
struct Execute {
    std::string_view portal_name;
    std::uint32_t max_rows = 0;
};

Result<Query> decode_query(Bytes body);
Result<Parse> decode_parse(Bytes body);
// `front` is the body or its beginning; truncated if the names are not complete.
Result<BindNames> decode_bind_names(Bytes front);
// A whole and well-formed Bind that supplies no parameter.
bool binds_no_parameter(Bytes body);
Result<Describe> decode_describe(Bytes body);  // protocol_violation for another kind
Result<Close> decode_close(Bytes body);
Result<Execute> decode_execute(Bytes body);

void encode_query(Buffer& out, std::string_view sql);
void encode_parse(Buffer& out,
                  std::string_view name,
                  std::string_view sql,
                  std::span<const std::uint32_t> param_oids);
void encode_bind(Buffer& out, std::string_view portal, std::string_view statement);  // no values
void encode_execute(Buffer& out, std::string_view portal);                           // all rows
void encode_close(Buffer& out, std::uint8_t kind, std::string_view name);
void encode_describe(Buffer& out, std::uint8_t kind, std::string_view name);
void encode_sync(Buffer& out);
void encode_flush(Buffer& out);
void encode_terminate(Buffer& out);
void encode_password(Buffer& out, std::string_view password);
void encode_sasl_initial(Buffer& out, std::string_view mechanism, std::string_view data);
void encode_sasl_response(Buffer& out, std::string_view data);

struct SaslInitial {
    std::string_view mechanism;
    bool has_data = false;
    std::string_view data;
};
Result<SaslInitial> decode_sasl_initial(Bytes body);
Result<std::string_view> decode_password(Bytes body);  // NUL-terminated

}  // namespace pgsteer::proxy::wire
